package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// InsideCommand is the argument that says: the namespaces are made.
const InsideCommand = "inside"

// Isolated starts this program anew in network, mount and process namespaces of
// its own, and waits for it. All that it starts ends with it. The code is the
// one to exit with.
func Isolated(logs string, arguments []string) (code int, err error) {
	// The process dies with the thread that has started it.
	runtime.LockOSThread()
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return 0, err
	}
	command := exec.Command(program, append([]string{InsideCommand}, arguments...)...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("make namespaces (as root?): %w", err)
	}
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		for one := range asked {
			_ = command.Process.Signal(one)
		}
	}()
	if err := os.WriteFile(filepath.Join(logs, "pid"), []byte(strconv.Itoa(command.Process.Pid)+"\n"), 0o644); err != nil {
		return 0, err
	}
	err = command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Settle mounts what the new namespaces need: their own /proc, and a place for
// the pods' network namespaces.
func Settle() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run/netns", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run/netns: %w", err)
	}
	return nil
}
