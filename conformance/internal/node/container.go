package node

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

const (
	// firstDelay is the pause before the second restart of a program; each
	// further one is twice as long, up to lastDelay.
	firstDelay = time.Second
	lastDelay  = 30 * time.Second
	// retryDelay is the pause before another try to start at all.
	retryDelay = 500 * time.Millisecond
)

// container runs one program of a pod, again and again if the pod asks for it.
type container struct {
	pod  *pod
	spec corev1.Container

	mutex sync.Mutex
	state containerState
}

// containerState is what the status of a container is made of.
type containerState struct {
	pid      int
	env      []string
	since    time.Time
	started  bool
	ready    bool
	restarts int32
	waiting  *corev1.ContainerStateWaiting
	ended    *corev1.ContainerStateTerminated
	message  string
}

func (s containerState) running() bool { return s.pid != 0 }

func (s containerState) succeeded() bool {
	return !s.running() && s.ended != nil && s.ended.ExitCode == 0
}

func newContainer(pod *pod, spec corev1.Container) *container {
	waiting := &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	return &container{pod: pod, spec: spec, state: containerState{waiting: waiting}}
}

func (c *container) snapshot() containerState {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.state
}

// update changes the state and lets the pod publish its status.
func (c *container) update(change func(*containerState)) {
	c.mutex.Lock()
	change(&c.state)
	c.mutex.Unlock()
	c.pod.touch()
}

func (c *container) wait(reason string, err error) {
	logf("%s/%s: container %s: %s: %v", c.pod.namespace, c.pod.name, c.spec.Name, reason, err)
	c.update(func(state *containerState) {
		state.waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}
	})
}

// supervise runs the program until the context ends or the policy says that it
// has run often enough.
func (c *container) supervise(ctx context.Context, policy corev1.RestartPolicy) {
	delay := time.Duration(0)
	for {
		code, err := c.runOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.wait("CreateContainerError", err)
			if !pause(ctx, retryDelay) {
				return
			}
			continue
		case policy == corev1.RestartPolicyNever, policy == corev1.RestartPolicyOnFailure && code == 0:
			return
		}
		if delay > 0 {
			c.wait("CrashLoopBackOff", fmt.Errorf("the program ended with %d; next start in %s", code, delay))
		}
		if !pause(ctx, delay) {
			return
		}
		delay = min(max(2*delay, firstDelay), lastDelay)
		c.update(func(state *containerState) { state.restarts++ })
	}
}

// runOnce starts the program and waits for its end. When the context ends
// first, the program is asked to end, and made to when its time is up.
func (c *container) runOnce(ctx context.Context) (code int, err error) {
	confined, err := c.confinement(ctx)
	if err != nil {
		return 0, err
	}
	command, err := confined.command()
	if err != nil {
		return 0, err
	}
	log, err := createLog(c.logPath())
	if err != nil {
		return 0, err
	}
	defer log.close()
	copied, err := c.start(command, log)
	if err != nil {
		return 0, err
	}
	c.update(func(state *containerState) {
		*state = containerState{pid: command.Process.Pid, env: confined.Env, since: time.Now(), restarts: state.restarts, ended: state.ended}
	})
	probes, stopProbes := context.WithCancel(context.Background())
	go c.watchProbes(probes)
	ended := make(chan struct{})
	go c.endWith(ctx, command.Process, ended)
	err = command.Wait()
	close(ended)
	stopProbes()
	copied.Wait()
	code = command.ProcessState.ExitCode()
	if status, is := command.ProcessState.Sys().(syscall.WaitStatus); is && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	c.finish(code)
	return code, nil
}

func (c *container) start(command *exec.Cmd, log *logFile) (*sync.WaitGroup, error) {
	var copied sync.WaitGroup
	outputs := map[string]*io.Writer{"stdout": &command.Stdout, "stderr": &command.Stderr}
	var ends []*os.File
	for stream, output := range outputs {
		reader, writer, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		*output = writer
		ends = append(ends, writer)
		copied.Go(func() {
			defer reader.Close()
			log.copy(stream, reader)
		})
	}
	err := command.Start()
	for _, end := range ends {
		end.Close()
	}
	return &copied, err
}

func (c *container) finish(code int) {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	c.update(func(state *containerState) {
		state.ended = &corev1.ContainerStateTerminated{
			ExitCode:   int32(code),
			Reason:     reason,
			Message:    state.message,
			StartedAt:  metav1.NewTime(state.since),
			FinishedAt: metav1.Now(),
		}
		state.pid, state.started, state.ready, state.waiting = 0, false, false, nil
	})
}

func (c *container) logPath() string {
	return filepath.Join(c.pod.folder, c.spec.Name+".log")
}

// confinement gathers what the program gets to see, and fails while a part of
// it is missing in the cluster.
func (c *container) confinement(ctx context.Context) (confinement, error) {
	program, err := c.pod.node.config.Images.Program(c.spec.Image)
	if err != nil {
		return confinement{}, err
	}
	variables, err := c.pod.environment(ctx, &c.spec)
	if err != nil {
		return confinement{}, err
	}
	mounts, err := c.pod.mounts(&c.spec)
	if err != nil {
		return confinement{}, err
	}
	root := filepath.Join(c.pod.folder, "root-"+c.spec.Name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return confinement{}, err
	}
	made := confinement{
		Network:   c.pod.sandbox.path(),
		Root:      root,
		Program:   program,
		Mounts:    mounts,
		Files:     c.pod.files(),
		Command:   c.commandLine(program, variables),
		Env:       pairs(variables),
		Directory: "/",
		Hostname:  c.pod.hostname(),
	}
	if c.spec.WorkingDir != "" {
		made.Directory = c.spec.WorkingDir
	}
	c.identify(&made)
	return made, nil
}

func (c *container) commandLine(program string, variables map[string]string) []string {
	mapping := expansion.MappingFuncFor(maps.Clone(variables))
	line := []string{"/" + filepath.Base(program)}
	if len(c.spec.Command) > 0 {
		line = expand(c.spec.Command, mapping)
	}
	return append(line, expand(c.spec.Args, mapping)...)
}

func expand(words []string, mapping func(string) string) []string {
	expanded := make([]string, len(words))
	for i, word := range words {
		expanded[i] = expansion.Expand(word, mapping)
	}
	return expanded
}

// identify sets who the program runs as: the container's word counts before the pod's.
func (c *container) identify(made *confinement) {
	if of := c.pod.current().Spec.SecurityContext; of != nil {
		made.User, made.Group = number(of.RunAsUser, 0), number(of.RunAsGroup, 0)
		for _, group := range of.SupplementalGroups {
			made.Groups = append(made.Groups, int(group))
		}
		if of.FSGroup != nil {
			made.Groups = append(made.Groups, int(*of.FSGroup))
		}
	}
	if of := c.spec.SecurityContext; of != nil {
		made.User, made.Group = number(of.RunAsUser, made.User), number(of.RunAsGroup, made.Group)
		made.ReadOnly = of.ReadOnlyRootFilesystem != nil && *of.ReadOnlyRootFilesystem
	}
}

func number(value *int64, otherwise int) int {
	if value == nil {
		return otherwise
	}
	return int(*value)
}
