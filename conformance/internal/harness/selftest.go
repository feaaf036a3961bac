package harness

import "context"

// runSelfTest runs the tests of the cluster itself.
func runSelfTest(ctx context.Context, options Options, local *Cluster) error {
	applier, err := NewApplier(local.rest)
	if err != nil {
		return err
	}
	if err := applier.ApplyBundle(ctx, options.Module, options.Channel); err != nil {
		return err
	}
	flags := []string{}
	if options.Test != "" {
		flags = append(flags, "-test.run="+options.Test)
	}
	_, err = runTests(ctx, options, "selftest.test", local.kubeconfig, flags...)
	return err
}
