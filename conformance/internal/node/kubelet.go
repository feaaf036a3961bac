package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const (
	idleTimeout    = 4 * time.Hour
	streamCreation = 30 * time.Second
)

// serveKubelet answers the requests that the API server makes for pods/log and
// pods/exec, on the paths of a kubelet.
func (n *Node) serveKubelet() error {
	pem, err := os.ReadFile(n.config.Authority)
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: expected certificates in PEM", n.config.Authority)
	}
	paths := http.NewServeMux()
	paths.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.serveLog)
	paths.HandleFunc("/exec/{namespace}/{pod}/{container}", n.serveExec)
	paths.HandleFunc("GET /healthz", func(to http.ResponseWriter, _ *http.Request) { fmt.Fprint(to, "ok") })
	server := &http.Server{
		Addr:    fmt.Sprintf("%s:%d", n.config.Address, n.config.Port),
		Handler: paths,
		// Exec needs a connection of its own, which HTTP/2 does not give.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig:    &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12},
	}
	go func() {
		logf("serve pods/log and pods/exec: %v", server.ListenAndServeTLS(n.config.Certificate, n.config.Key))
	}()
	return nil
}

func (n *Node) serveLog(to http.ResponseWriter, request *http.Request) {
	found, err := n.find(request.PathValue("namespace"), request.PathValue("pod"), request.PathValue("container"))
	if err != nil {
		http.Error(to, err.Error(), http.StatusNotFound)
		return
	}
	options, err := logOptions(request.URL.Query())
	if err != nil {
		http.Error(to, err.Error(), http.StatusBadRequest)
		return
	}
	path := found.logPath()
	if _, err := os.Stat(path); err != nil {
		http.Error(to, fmt.Sprintf("container %s has not written anything", found.spec.Name), http.StatusBadRequest)
		return
	}
	to.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := readLog(request.Context(), found, path, options, flushing{to}); err != nil && request.Context().Err() == nil {
		logf("read %s: %v", path, err)
	}
}

func logOptions(query url.Values) (*corev1.PodLogOptions, error) {
	options := &corev1.PodLogOptions{Follow: flag(query, "follow"), Timestamps: flag(query, "timestamps"), Previous: flag(query, "previous")}
	for name, field := range map[string]**int64{"tailLines": &options.TailLines, "limitBytes": &options.LimitBytes, "sinceSeconds": &options.SinceSeconds} {
		if !query.Has(name) {
			continue
		}
		value, err := strconv.ParseInt(query.Get(name), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		*field = &value
	}
	if query.Has("sinceTime") {
		since, err := time.Parse(time.RFC3339, query.Get("sinceTime"))
		if err != nil {
			return nil, fmt.Errorf("sinceTime: %w", err)
		}
		options.SinceTime = &metav1.Time{Time: since}
	}
	return options, nil
}

func flag(query url.Values, name string) bool {
	value, err := strconv.ParseBool(query.Get(name))
	return err == nil && value
}

// flushing sends each line on at once, for a reader that follows.
type flushing struct{ to http.ResponseWriter }

func (f flushing) Write(bytes []byte) (int, error) {
	count, err := f.to.Write(bytes)
	if flusher, is := f.to.(http.Flusher); is {
		flusher.Flush()
	}
	return count, err
}

func (n *Node) serveExec(to http.ResponseWriter, request *http.Request) {
	found, err := n.find(request.PathValue("namespace"), request.PathValue("pod"), request.PathValue("container"))
	if err != nil {
		http.Error(to, err.Error(), http.StatusNotFound)
		return
	}
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(to, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(to, request, executor{found}, found.pod.name, string(found.pod.uid), found.spec.Name,
		request.URL.Query()["command"], options, idleTimeout, streamCreation, supportedStreams)
}

var supportedStreams = []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"}

// executor runs commands for the streams of a request.
type executor struct{ container *container }

func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, line []string, in io.Reader, out, errors io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if tty {
		errors = out
	}
	return e.container.exec(ctx, line, in, orNothing(out), orNothing(errors))
}

func orNothing(to io.WriteCloser) io.Writer {
	if to == nil {
		return io.Discard
	}
	return to
}
