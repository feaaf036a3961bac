package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// ServeBackend answers every request with the name of its pod, until SIGTERM;
// then it ends what it has begun. It keeps idle connections open longer than
// proxies do, as backends should.
func ServeBackend() error {
	name := os.Getenv("POD_NAME")
	server := &http.Server{
		Addr: fmt.Sprintf(":%d", backendPort),
		Handler: http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
			writer.Header().Set("X-Pod", name)
			_, _ = writer.Write([]byte("served\n"))
		}),
		IdleTimeout: 10 * time.Minute,
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return server.Shutdown(grace)
	}
}
