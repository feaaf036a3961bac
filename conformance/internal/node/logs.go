package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"
)

// logFile is where the lines of a container go, in the format that container
// runtimes write, so that the kubelet's own reader can read it.
type logFile struct {
	mutex sync.Mutex
	file  *os.File
}

func createLog(path string) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{file: file}, nil
}

// copy writes each line with the time at which it was read, until the stream ends.
func (l *logFile) copy(stream string, from io.Reader) {
	reader := bufio.NewReaderSize(from, 16<<10)
	for {
		line, partial, err := reader.ReadLine()
		if err != nil {
			return
		}
		tag := runtimeapi.LogTagFull
		if partial {
			tag = runtimeapi.LogTagPartial
		}
		l.mutex.Lock()
		_, err = fmt.Fprintf(l.file, "%s %s %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, tag, line)
		l.mutex.Unlock()
		if err != nil {
			logf("write %s: %v", l.file.Name(), err)
		}
	}
}

func (l *logFile) close() error {
	return l.file.Close()
}

// readLog writes a container's lines to the writer as pods/log is asked for them.
func readLog(ctx context.Context, container *container, path string, options *corev1.PodLogOptions, to io.Writer) error {
	asked := &logs.LogOptions{
		TailLines:  options.TailLines,
		LimitBytes: options.LimitBytes,
		Follow:     options.Follow,
		Timestamp:  options.Timestamps,
	}
	switch {
	case options.SinceSeconds != nil:
		asked.Since = time.Now().Add(-time.Duration(*options.SinceSeconds) * time.Second)
	case options.SinceTime != nil:
		asked.Since = options.SinceTime.Time
	}
	return logs.ReadLogs(ctx, path, container.spec.Name, asked, liveness{container: container}, to, to)
}

// liveness answers the one question that a reader that follows asks its
// runtime: whether the container still runs.
type liveness struct {
	internalapi.RuntimeService
	container *container
}

func (l liveness) ContainerStatus(context.Context, string, bool) (*runtimeapi.ContainerStatusResponse, error) {
	state := runtimeapi.ContainerState_CONTAINER_EXITED
	if l.container.snapshot().running() {
		state = runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{State: state}}, nil
}
