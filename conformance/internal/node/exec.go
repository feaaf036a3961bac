package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"

	utilexec "k8s.io/utils/exec"
)

// exec runs one more program in the container, beside its own.
func (c *container) exec(ctx context.Context, line []string, in io.Reader, out, err io.Writer) error {
	state := c.snapshot()
	if !state.running() {
		return fmt.Errorf("container %s does not run", c.spec.Name)
	}
	arguments := []string{"--target", strconv.Itoa(state.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--"}
	command := exec.CommandContext(ctx, "nsenter", append(arguments, line...)...)
	command.Env = state.env
	command.Stdout, command.Stderr = out, err
	if in != nil {
		// Not command.Stdin: the end of the program must not wait for more input.
		pipe, wrong := command.StdinPipe()
		if wrong != nil {
			return wrong
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			pipe.Close()
		}()
	}
	wrong := command.Run()
	var exit *exec.ExitError
	if errors.As(wrong, &exit) {
		return utilexec.CodeExitError{Err: wrong, Code: exit.ExitCode()}
	}
	return wrong
}
