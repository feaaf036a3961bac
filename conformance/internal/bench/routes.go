package bench

import (
	"fmt"

	"github.com/gateway-rs/gateway/conformance/internal/harness"
)

const (
	namespace   = "bench"
	gatewayName = "bench"
	// services is how many Services the routes are spread over; the same pods are behind all.
	services = 10
	// perHost is how many routes share a hostname.
	perHost = 10
	// backendImage is the name under which pods run this program's backend.
	backendImage = "gateway-rs.github.io/bench-backend"
	backendApp   = "backend"
	httpListener = "http"
	servicePort  = 80
	backendPort  = 3000
)

// target is what a request must have to be served by a route.
type target struct {
	host, path string
	// tenant is the value of the header x-tenant, if the route asks for one.
	tenant string
}

// object is a manifest.
type object = map[string]any

// targetOf is the request for the i-th route.
func targetOf(i int) target {
	t := target{host: fmt.Sprintf("host-%04d.example.net", i/perHost), path: fmt.Sprintf("/part-%d/item", i%perHost)}
	if i%perHost == 7 {
		t.tenant = fmt.Sprintf("tenant-%d", i)
	}
	return t
}

func routeName(i int) string { return fmt.Sprintf("route-%05d", i) }

// stamp is the value of x-rule in answers of a route; each change of a route
// gives it another version.
func stamp(name string, version int) string { return fmt.Sprintf("%s.%d", name, version) }

// httpRoute is the i-th route. Of ten routes of a host, six match a prefix, one
// an exact path, one a header beside the prefix, one a method, and one has two
// rules, the second with weights.
func httpRoute(i, version int) object {
	t := targetOf(i)
	prefix := fmt.Sprintf("/part-%d", i%perHost)
	match := object{"path": object{"type": "PathPrefix", "value": prefix}}
	var more []any
	switch i % perHost {
	case 6:
		match = object{"path": object{"type": "Exact", "value": t.path}}
	case 7:
		match["headers"] = []any{object{"name": "x-tenant", "value": t.tenant}}
	case 8:
		match["method"] = "GET"
	case 9:
		weighted := []any{backend(serviceOf(i), 3), backend(serviceOf(i+1), 1)}
		more = []any{rule(object{"path": object{"type": "PathPrefix", "value": "/other"}}, stamp("other", 0), weighted...)}
	}
	rules := append([]any{rule(match, stamp(routeName(i), version), backend(serviceOf(i), 1))}, more...)
	return routeOf(routeName(i), t.host, httpListener, rules...)
}

func serviceOf(i int) string { return fmt.Sprintf("backend-%d", i%services) }

func routeOf(name, host, listener string, rules ...any) object {
	return object{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": object{"name": name, "namespace": namespace},
		"spec": object{
			"parentRefs": []any{object{"name": gatewayName, "sectionName": listener}},
			"hostnames":  []any{host},
			"rules":      rules,
		},
	}
}

func rule(match object, value string, backends ...any) object {
	return object{
		"matches":     []any{match},
		"filters":     []any{marking(value)},
		"backendRefs": backends,
	}
}

// marking is the filter that makes answers say which rule has served them.
func marking(value string) object {
	return object{"type": "ResponseHeaderModifier", "responseHeaderModifier": object{"set": []any{object{"name": "x-rule", "value": value}}}}
}

func backend(service string, weight int) object {
	return object{"name": service, "port": servicePort, "weight": weight}
}

func gateway(listeners ...any) object {
	return object{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
		"metadata": object{"name": gatewayName, "namespace": namespace},
		"spec":     object{"gatewayClassName": harness.ClassName, "listeners": listeners},
	}
}

// listener is one at port 80; the first has no hostname.
func listener(name, host string) object {
	l := object{"name": name, "port": 80, "protocol": "HTTP"}
	if host != "" {
		l["hostname"] = host
	}
	return l
}

// backends are the pods that answer, and the Services before them.
func backends() []object {
	all := []object{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": namespace}},
		deployment(backendApp, 2),
	}
	for i := range services {
		all = append(all, service(serviceOf(i), backendApp))
	}
	return all
}

// deployment is of pods that are well-behaved when they end.
func deployment(name string, replicas int) object {
	labels := object{"app": name}
	container := object{
		"name": "backend", "image": backendImage, "args": []any{"backend"},
		"env":            []any{object{"name": "POD_NAME", "valueFrom": object{"fieldRef": object{"fieldPath": "metadata.name"}}}},
		"ports":          []any{object{"containerPort": backendPort}},
		"readinessProbe": object{"httpGet": object{"path": "/", "port": backendPort}, "periodSeconds": 1},
		// Long enough for everybody to learn that the pod ends.
		"lifecycle": object{"preStop": object{"sleep": object{"seconds": 2}}},
	}
	return object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": name, "namespace": namespace},
		"spec": object{
			"replicas": replicas, "selector": object{"matchLabels": labels},
			"strategy": object{"rollingUpdate": object{"maxUnavailable": 0, "maxSurge": "100%"}},
			"template": object{"metadata": object{"labels": labels}, "spec": object{"containers": []any{container}}},
		},
	}
}

// service is one before the pods of an app, or of nothing yet.
func service(name, app string) object {
	spec := object{"ports": []any{object{"port": servicePort, "targetPort": backendPort}}}
	if app != "" {
		spec["selector"] = object{"app": app}
	}
	return object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": name, "namespace": namespace}, "spec": spec}
}

// slice is the one endpoint of a Service that selects no pods.
func slice(service, address string) object {
	return object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
		"metadata":    object{"name": service, "namespace": namespace, "labels": object{"kubernetes.io/service-name": service}},
		"addressType": "IPv4",
		"endpoints":   []any{object{"addresses": []any{address}, "conditions": object{"ready": true}}},
		"ports":       []any{object{"port": backendPort, "protocol": "TCP"}},
	}
}
