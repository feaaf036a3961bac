package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// dialTimeout is how long one endpoint may take to accept.
const dialTimeout = 3 * time.Second

// udpIdle is how long a client's datagrams go to the same endpoint after the last one.
const udpIdle = 30 * time.Second

// forwarder carries what arrives at one address and port to endpoints in turn.
// A connection that ends or breaks on one side ends or breaks on the other.
type forwarder struct {
	backends atomic.Pointer[[]netip.AddrPort]
	turn     atomic.Uint64
	socket   io.Closer
}

func newForwarder(at front) (*forwarder, error) {
	f := &forwarder{}
	f.use(nil)
	switch at.protocol {
	case corev1.ProtocolTCP:
		listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at.address))
		if err != nil {
			return nil, err
		}
		f.socket = listener
		go f.accept(listener)
	case corev1.ProtocolUDP:
		socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at.address))
		if err != nil {
			return nil, err
		}
		f.socket = socket
		go f.receive(socket)
	default:
		return nil, fmt.Errorf("port %s: expected TCP or UDP, not %s", at.address, at.protocol)
	}
	return f, nil
}

func (f *forwarder) use(backends []netip.AddrPort) {
	f.backends.Store(&backends)
}

func (f *forwarder) close() {
	if err := f.socket.Close(); err != nil {
		logf("services: %v", err)
	}
}

// candidates are the endpoints to try, another one first each time.
func (f *forwarder) candidates() []netip.AddrPort {
	backends := *f.backends.Load()
	if len(backends) == 0 {
		return nil
	}
	first := int(f.turn.Add(1) % uint64(len(backends)))
	return append(append([]netip.AddrPort(nil), backends[first:]...), backends[:first]...)
}

func (f *forwarder) accept(listener *net.TCPListener) {
	for {
		client, err := listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			logf("services: accept on %s: %v", listener.Addr(), err)
			continue
		}
		go f.carry(client)
	}
}

func (f *forwarder) carry(client *net.TCPConn) {
	defer client.Close()
	for _, backend := range f.candidates() {
		connection, err := net.DialTimeout("tcp", backend.String(), dialTimeout)
		if err != nil {
			continue
		}
		server := connection.(*net.TCPConn)
		defer server.Close()
		var both sync.WaitGroup
		both.Go(func() { pour(server, client) })
		both.Go(func() { pour(client, server) })
		both.Wait()
		return
	}
	reset(client)
}

// pour copies one direction, and hands on how it ended.
func pour(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	switch {
	case err == nil:
		_ = to.CloseWrite()
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		reset(to)
		reset(from)
	default:
		_ = to.Close()
		_ = from.Close()
	}
}

func reset(connection *net.TCPConn) {
	_ = connection.SetLinger(0)
	_ = connection.Close()
}

func (f *forwarder) receive(socket *net.UDPConn) {
	var mutex sync.Mutex
	flows := map[netip.AddrPort]*net.UDPConn{}
	buffer := make([]byte, 64<<10)
	for {
		count, client, err := socket.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		mutex.Lock()
		flow := flows[client]
		mutex.Unlock()
		if flow == nil {
			candidates := f.candidates()
			if len(candidates) == 0 {
				continue
			}
			if flow, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(candidates[0])); err != nil {
				continue
			}
			mutex.Lock()
			flows[client] = flow
			mutex.Unlock()
			go func() {
				answer(socket, flow, client)
				mutex.Lock()
				delete(flows, client)
				mutex.Unlock()
			}()
		}
		_, _ = flow.Write(buffer[:count])
	}
}

// answer carries datagrams back until none has come for a while.
func answer(socket, flow *net.UDPConn, client netip.AddrPort) {
	defer flow.Close()
	buffer := make([]byte, 64<<10)
	for {
		if err := flow.SetReadDeadline(time.Now().Add(udpIdle)); err != nil {
			return
		}
		count, err := flow.Read(buffer)
		if err != nil {
			return
		}
		if _, err := socket.WriteToUDPAddrPort(buffer[:count], client); err != nil {
			return
		}
	}
}
