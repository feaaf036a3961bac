package node

import (
	"errors"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
)

const clusterDomain = ".svc.cluster.local."

// serveNames answers what a cluster's DNS does for NAME.NAMESPACE.svc.cluster.local:
// the cluster address of a Service, or all endpoints of one without.
func (s *services) serveNames() error {
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.config.DNSAddress, 53)))
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			count, client, err := socket.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			if answer, err := s.resolve(buffer[:count]); err == nil {
				_, _ = socket.WriteToUDPAddrPort(answer, client)
			}
		}
	}()
	return nil
}

func (s *services) resolve(query []byte) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(query); err != nil {
		return nil, err
	}
	message.Response, message.Authoritative, message.RecursionAvailable = true, true, true
	message.Answers, message.Authorities, message.Additionals = nil, nil, nil
	message.RCode = dnsmessage.RCodeNameError
	for _, question := range message.Questions {
		addresses, found := s.addressesOf(question.Name.String())
		if !found {
			continue
		}
		message.RCode = dnsmessage.RCodeSuccess
		for _, address := range addresses {
			if question.Type != dnsmessage.TypeA || !address.Is4() {
				continue
			}
			message.Answers = append(message.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 5},
				Body:   &dnsmessage.AResource{A: address.As4()},
			})
		}
	}
	return message.Pack()
}

func (s *services) addressesOf(name string) ([]netip.Addr, bool) {
	name, inside := strings.CutSuffix(strings.ToLower(name), clusterDomain)
	serviceName, namespace, split := strings.Cut(name, ".")
	if !inside || !split {
		return nil, false
	}
	service, err := s.services.Services(namespace).Get(serviceName)
	if err != nil {
		return nil, false
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone {
		address, err := netip.ParseAddr(service.Spec.ClusterIP)
		return []netip.Addr{address}, err == nil
	}
	var addresses []netip.Addr
	for _, port := range service.Spec.Ports {
		backends, err := s.backends(service, port)
		if err != nil {
			return nil, false
		}
		for _, backend := range backends {
			addresses = append(addresses, backend.Addr())
		}
	}
	return addresses, true
}
