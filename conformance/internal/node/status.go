package node

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// status is the pod's status now. Conditions that say the same as in the last
// one keep its times.
func (p *pod) status(last *corev1.PodStatus) corev1.PodStatus {
	p.mutex.Lock()
	object, failed, address := p.object, p.failed, p.address
	p.mutex.Unlock()
	status := corev1.PodStatus{
		ObservedGeneration:    object.Generation,
		QOSClass:              object.Status.QOSClass,
		HostIP:                p.node.config.Address.String(),
		HostIPs:               []corev1.HostIP{{IP: p.node.config.Address.String()}},
		StartTime:             &p.bound,
		InitContainerStatuses: statuses(p.inits),
		ContainerStatuses:     statuses(p.containers),
	}
	if address.IsValid() {
		status.PodIP = address.String()
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	}
	if failed != nil {
		status.Message = failed.Error()
	}
	initialized := all(p.inits, containerState.succeeded)
	ready := initialized && all(p.containers, func(state containerState) bool { return state.running() && state.ready })
	status.Phase = p.phase(object.Spec.RestartPolicy, initialized)
	for _, one := range []struct {
		kind  corev1.PodConditionType
		holds bool
	}{
		{corev1.PodReadyToStartContainers, address.IsValid() && failed == nil},
		{corev1.PodInitialized, initialized},
		{corev1.PodReady, ready},
		{corev1.ContainersReady, ready},
		{corev1.PodScheduled, true},
	} {
		status.Conditions = append(status.Conditions, condition(one.kind, one.holds, object.Generation, last))
	}
	return status
}

func condition(kind corev1.PodConditionType, holds bool, generation int64, last *corev1.PodStatus) corev1.PodCondition {
	made := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, ObservedGeneration: generation, LastTransitionTime: metav1.Now()}
	if holds {
		made.Status = corev1.ConditionTrue
	} else {
		made.Reason = "ContainersNotReady"
	}
	if last == nil {
		return made
	}
	for _, old := range last.Conditions {
		if old.Type == kind && old.Status == made.Status {
			made.LastTransitionTime = old.LastTransitionTime
		}
	}
	return made
}

func (p *pod) phase(policy corev1.RestartPolicy, initialized bool) corev1.PodPhase {
	ended := func(state containerState) bool { return !state.running() && state.ended != nil && state.waiting == nil }
	begun := func(state containerState) bool { return state.running() || state.ended != nil }
	failedInit := policy == corev1.RestartPolicyNever && !all(p.inits, func(state containerState) bool {
		return !ended(state) || state.succeeded()
	})
	over := policy != corev1.RestartPolicyAlways && all(p.containers, ended)
	switch {
	case failedInit:
		return corev1.PodFailed
	case initialized && over && all(p.containers, containerState.succeeded):
		return corev1.PodSucceeded
	case initialized && over && policy == corev1.RestartPolicyNever:
		return corev1.PodFailed
	case initialized && all(p.containers, begun):
		return corev1.PodRunning
	default:
		return corev1.PodPending
	}
}

func all(containers []*container, holds func(containerState) bool) bool {
	for _, one := range containers {
		if !holds(one.snapshot()) {
			return false
		}
	}
	return true
}

func statuses(containers []*container) []corev1.ContainerStatus {
	list := make([]corev1.ContainerStatus, 0, len(containers))
	for _, one := range containers {
		state := one.snapshot()
		status := corev1.ContainerStatus{
			Name:         one.spec.Name,
			Image:        one.spec.Image,
			ImageID:      one.spec.Image,
			Ready:        state.ready,
			Started:      &state.started,
			RestartCount: state.restarts,
		}
		switch {
		case state.running():
			status.ContainerID = fmt.Sprintf("process://%s/%d", one.pod.uid, state.pid)
			status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(state.since)}
			status.LastTerminationState.Terminated = state.ended
		case state.waiting != nil:
			status.State.Waiting = state.waiting
			status.LastTerminationState.Terminated = state.ended
		default:
			status.State.Terminated = state.ended
		}
		list = append(list, status)
	}
	return list
}
