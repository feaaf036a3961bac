package node

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// services serves the addresses of Services (cluster addresses, external
// addresses, and those of type LoadBalancer, which it assigns) by forwarding to
// their endpoints. All of these ranges are local to the node's network.
type services struct {
	config     Config
	client     kubernetes.Interface
	factory    informers.SharedInformerFactory
	services   corelisters.ServiceLister
	slices     discoverylisters.EndpointSliceLister
	forwarders map[front]*forwarder
	// assigned has the addresses of Services of type LoadBalancer, which the
	// informers may not know yet.
	assigned map[types.UID]netip.Addr
	changed  chan struct{}
}

// front is where clients connect to.
type front struct {
	protocol corev1.Protocol
	address  netip.AddrPort
}

func newServices(config Config, client kubernetes.Interface, factory informers.SharedInformerFactory) *services {
	return &services{
		config:     config,
		client:     client,
		factory:    factory,
		services:   factory.Core().V1().Services().Lister(),
		slices:     factory.Discovery().V1().EndpointSlices().Lister(),
		forwarders: map[front]*forwarder{},
		assigned:   map[types.UID]netip.Addr{},
		changed:    make(chan struct{}, 1),
	}
}

func (s *services) watch() error {
	touch := func() {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { touch() },
		UpdateFunc: func(_, _ any) { touch() },
		DeleteFunc: func(any) { touch() },
	}
	if _, err := s.factory.Core().V1().Services().Informer().AddEventHandler(handler); err != nil {
		return err
	}
	_, err := s.factory.Discovery().V1().EndpointSlices().Informer().AddEventHandler(handler)
	return err
}

// run follows the cluster until the context ends.
func (s *services) run(ctx context.Context) {
	for {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			logf("services: %v", err)
			if pause(ctx, retryDelay) {
				continue
			}
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (s *services) follow(ctx context.Context) error {
	list, err := s.services.List(labels.Everything())
	if err != nil {
		return err
	}
	s.forget(list)
	wanted := map[front][]netip.AddrPort{}
	for i := range list {
		if list[i], err = s.assign(ctx, list[i], list); err != nil {
			return err
		}
		service := list[i]
		for _, port := range service.Spec.Ports {
			backends, err := s.backends(service, port)
			if err != nil {
				return err
			}
			for _, address := range fronts(service) {
				wanted[front{port.Protocol, netip.AddrPortFrom(address, uint16(port.Port))}] = backends
			}
		}
	}
	return s.apply(wanted)
}

// apply opens, changes and closes forwarders until they are the wanted ones.
func (s *services) apply(wanted map[front][]netip.AddrPort) error {
	for at, open := range s.forwarders {
		if _, stays := wanted[at]; !stays {
			open.close()
			delete(s.forwarders, at)
		}
	}
	for at, backends := range wanted {
		open, found := s.forwarders[at]
		if !found {
			made, err := newForwarder(at)
			if err != nil {
				logf("services: %v", err)
				continue
			}
			open = made
			s.forwarders[at] = open
		}
		open.use(backends)
	}
	return nil
}

func fronts(service *corev1.Service) []netip.Addr {
	texts := append(append([]string(nil), service.Spec.ClusterIPs...), service.Spec.ExternalIPs...)
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		texts = append(texts, ingress.IP)
	}
	var addresses []netip.Addr
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// backends are the ready endpoints of a port, or, if there is none, those that
// still serve while they end.
func (s *services) backends(service *corev1.Service, port corev1.ServicePort) ([]netip.AddrPort, error) {
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name})
	list, err := s.slices.EndpointSlices(service.Namespace).List(selector)
	if err != nil {
		return nil, err
	}
	var ready, ending []netip.AddrPort
	for _, slice := range list {
		number := slicePort(slice, port)
		if number == 0 {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			for _, text := range endpoint.Addresses {
				address, err := netip.ParseAddr(text)
				if err != nil {
					continue
				}
				backend := netip.AddrPortFrom(address, number)
				conditions := endpoint.Conditions
				if conditions.Ready == nil || *conditions.Ready {
					ready = append(ready, backend)
				} else if conditions.Serving != nil && *conditions.Serving {
					ending = append(ending, backend)
				}
			}
		}
	}
	if len(ready) == 0 {
		return ending, nil
	}
	return ready, nil
}

func slicePort(slice *discoveryv1.EndpointSlice, port corev1.ServicePort) uint16 {
	for _, one := range slice.Ports {
		sameName := one.Name == nil && port.Name == "" || one.Name != nil && *one.Name == port.Name
		if sameName && one.Port != nil && (one.Protocol == nil || *one.Protocol == port.Protocol) {
			return uint16(*one.Port)
		}
	}
	return 0
}

// assign gives a Service of type LoadBalancer its address: the one it asks for
// if it is in the range, else the next that is free. It returns the Service as
// it is then.
func (s *services) assign(ctx context.Context, service *corev1.Service, all []*corev1.Service) (*corev1.Service, error) {
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer || service.DeletionTimestamp != nil || len(service.Status.LoadBalancer.Ingress) > 0 {
		return service, nil
	}
	address, err := s.choose(service, all)
	if err != nil {
		logf("services: %s/%s: %v", service.Namespace, service.Name, err)
		return service, nil
	}
	s.assigned[service.UID] = address
	mode := corev1.LoadBalancerIPModeVIP
	changed := service.DeepCopy()
	changed.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address.String(), IPMode: &mode}}
	changed, err = s.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("assign an address to %s/%s: %w", service.Namespace, service.Name, err)
	}
	return changed, nil
}

// forget frees the addresses of Services that are gone.
func (s *services) forget(all []*corev1.Service) {
	live := map[types.UID]bool{}
	for _, service := range all {
		live[service.UID] = true
	}
	for uid := range s.assigned {
		if !live[uid] {
			delete(s.assigned, uid)
		}
	}
}

func (s *services) choose(service *corev1.Service, all []*corev1.Service) (netip.Addr, error) {
	if address, found := s.assigned[service.UID]; found {
		return address, nil
	}
	taken := map[netip.Addr]bool{}
	for _, address := range s.assigned {
		taken[address] = true
	}
	for _, other := range all {
		for _, address := range fronts(other) {
			taken[address] = true
		}
	}
	if text := service.Spec.LoadBalancerIP; text != "" {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Addr{}, err
		}
		if !s.config.LoadBalancers.Contains(address) || taken[address] {
			return netip.Addr{}, fmt.Errorf("address %s is taken or not in %s", address, s.config.LoadBalancers)
		}
		return address, nil
	}
	for address := s.config.LoadBalancers.Masked().Addr().Next(); s.config.LoadBalancers.Contains(address); address = address.Next() {
		if !taken[address] {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("all addresses of %s are taken", s.config.LoadBalancers)
}
