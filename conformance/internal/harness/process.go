package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopTime is how long a process may take to end by itself.
const stopTime = 10 * time.Second

// process is a part of the cluster, running, with its output in a file.
type process struct {
	name    string
	command *exec.Cmd
	ended   chan struct{}
	err     error
}

// start runs a program whose output goes to NAME.log in the folder.
func start(logs, name, program string, arguments ...string) (*process, error) {
	file, err := os.OpenFile(filepath.Join(logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = file, file
	// Ctrl-C reaches the harness only, which stops the parts in order.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, command: command, ended: make(chan struct{})}
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop asks the process to end, makes it end when its time is up, and waits.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// check is an error if the process has ended.
func (p *process) check() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended early: %w", p.name, errors.Join(p.err, errors.New("see "+p.name+".log")))
	default:
		return nil
	}
}
