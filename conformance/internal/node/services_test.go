package node

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func balanced(uid string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: uid, UID: types.UID(uid)},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
}

// The informers may tell of a Service without the address that it was given a
// moment before.
func TestAnAddressIsGivenOnce(t *testing.T) {
	s := &services{
		config:   Config{LoadBalancers: netip.MustParsePrefix("10.98.0.0/30")},
		assigned: map[types.UID]netip.Addr{},
	}
	a, b := balanced("a"), balanced("b")
	all := []*corev1.Service{b, a}
	give := func(service *corev1.Service) netip.Addr {
		t.Helper()
		address, err := s.choose(service, all)
		if err != nil {
			t.Fatal(err)
		}
		s.assigned[service.UID] = address
		return address
	}
	ofA := give(a)
	if ofB := give(b); ofB == ofA {
		t.Fatalf("both have %s", ofA)
	}
	if again := give(a); again != ofA {
		t.Fatalf("a had %s and now has %s", ofA, again)
	}
	all = []*corev1.Service{b}
	s.forget(all)
	if ofC := give(balanced("c")); ofC != ofA {
		t.Fatalf("%s is free, c has %s", ofA, ofC)
	}
}
