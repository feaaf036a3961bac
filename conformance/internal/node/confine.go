package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// confinement says what a container's process sees: its network, its files and
// who it is. The node hands it to its own program, started anew in fresh mount,
// process and host name namespaces, which becomes the container's program.
type confinement struct {
	Network   string
	Root      string
	Program   string
	Mounts    []mount
	Files     map[string]string
	Command   []string
	Env       []string
	Directory string
	Hostname  string
	User      int
	Group     int
	Groups    []int
	ReadOnly  bool
}

// mount binds Source, a file or a folder of the node, to Target in the container.
type mount struct {
	Source, Target string
	ReadOnly       bool
}

// ConfineCommand is the argument that makes the node's program a container.
const ConfineCommand = "confine"

// command is the process that becomes the container when it is started.
func (c confinement) command() (*exec.Cmd, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	// Not the path: another program may be there by now.
	command := exec.Command("/proc/self/exe", ConfineCommand)
	command.Stdin = strings.NewReader(string(text))
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true,
	}
	return command, nil
}

// Confine reads a confinement from standard input and becomes its program. It
// returns only if that fails.
func Confine() error {
	// The namespaces that are entered here hold for this thread only, and the
	// program is started from it.
	runtime.LockOSThread()
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var c confinement
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	for _, step := range []func() error{c.enterNetwork, c.buildRoot, c.enterRoot, c.takeIdentity} {
		if err := step(); err != nil {
			return err
		}
	}
	program, err := c.lookUp(c.Command[0])
	if err != nil {
		return err
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return err
	}
	if err := unix.Dup2(int(null.Fd()), 0); err != nil {
		return err
	}
	return fmt.Errorf("start %s: %w", program, unix.Exec(program, c.Command, c.Env))
}

func (c confinement) enterNetwork() error {
	if c.Network == "" {
		return nil
	}
	file, err := os.Open(c.Network)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", c.Network, err)
	}
	// Container runtimes let every user bind low ports.
	return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0o644)
}

// buildRoot lays out the container's files on a tmpfs: the system's libraries
// and tools (read-only, so that programs that are linked to them run), the
// program, the pod's own files of /etc and the volumes.
func (c confinement) buildRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", c.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for _, folder := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache"} {
		if err := c.share(folder); err != nil {
			return err
		}
	}
	for path, text := range c.Files {
		if err := os.MkdirAll(filepath.Dir(c.Root+path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(c.Root+path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Mkdir(c.Root+"/tmp", 0o755); err != nil {
		return err
	}
	if err := os.Chmod(c.Root+"/tmp", 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := c.mountKernelFiles(); err != nil {
		return err
	}
	mounts := append([]mount{{Source: c.Program, Target: "/" + filepath.Base(c.Program), ReadOnly: true}}, c.Mounts...)
	for _, one := range mounts {
		if err := c.bind(one); err != nil {
			return err
		}
	}
	return nil
}

// share shows a folder or file of the node in the container, if there is one.
func (c confinement) share(path string) error {
	link, err := os.Readlink(path)
	if err == nil {
		return os.Symlink(link, c.Root+path)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return c.bind(mount{Source: path, Target: path, ReadOnly: true})
}

func (c confinement) mountKernelFiles() error {
	for _, folder := range []string{"/proc", "/dev"} {
		if err := os.MkdirAll(c.Root+folder, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", c.Root+"/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("/dev", c.Root+"/dev", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	return nil
}

func (c confinement) bind(one mount) error {
	about, err := os.Stat(one.Source)
	if err != nil {
		return fmt.Errorf("mount %s: %w", one.Target, err)
	}
	target := filepath.Join(c.Root, one.Target)
	if about.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", one.Target, err)
	}
	if err := unix.Mount(one.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", one.Target, err)
	}
	if !one.ReadOnly {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", one.Target, err)
	}
	return nil
}

func (c confinement) enterRoot() error {
	if c.ReadOnly {
		if err := unix.Mount("", c.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make root read-only: %w", err)
		}
	}
	if err := unix.Chdir(c.Root); err != nil {
		return err
	}
	// The old root ends up stacked below the new one, and is let go.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave old root: %w", err)
	}
	if err := unix.Chdir(c.Directory); err != nil {
		return fmt.Errorf("enter %s: %w", c.Directory, err)
	}
	return unix.Sethostname([]byte(c.Hostname))
}

func (c confinement) takeIdentity() error {
	if err := syscall.Setgroups(c.Groups); err != nil {
		return err
	}
	if err := syscall.Setgid(c.Group); err != nil {
		return err
	}
	return syscall.Setuid(c.User)
}

// lookUp finds a program as a shell does, by the container's PATH.
func (c confinement) lookUp(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, variable := range c.Env {
		paths, found := strings.CutPrefix(variable, "PATH=")
		if !found {
			continue
		}
		for _, folder := range filepath.SplitList(paths) {
			path := filepath.Join(folder, name)
			if about, err := os.Stat(path); err == nil && !about.IsDir() {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("program %s: not found in PATH", name)
}
