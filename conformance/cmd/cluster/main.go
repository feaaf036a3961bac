// Command cluster runs one part of a control plane: the etcd, the
// kube-apiserver or the kube-controller-manager that Kubernetes releases are
// built from. Each part is a process of its own, so that it can be stopped and
// started while the others run.
//
// In: the part's name and the part's own flags. Out: a running server.
// Not here: certificates, kubeconfigs and the order of things (cmd/harness).
package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("name a part: etcd, apiserver or controllers")
	}
	switch part, rest := args[0], args[1:]; part {
	case "etcd":
		return etcd(rest)
	case "apiserver":
		return command(apiserver.NewAPIServerCommand(), rest)
	case "controllers":
		return command(controllers.NewControllerManagerCommand(), rest)
	default:
		return fmt.Errorf("unknown part %q: expected etcd, apiserver or controllers", part)
	}
}

func command(cmd *cobra.Command, args []string) error {
	cmd.SetArgs(args)
	return cmd.Execute()
}

// etcd serves one member that holds its data in -dir. It does not wait for the
// disk: the data outlives the process, not the machine.
func etcd(args []string) error {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	dir := flags.String("dir", "etcd", "data folder")
	client := flags.String("client", "http://127.0.0.1:2379", "URL for clients")
	peer := flags.String("peer", "http://127.0.0.1:2380", "URL for peers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clientURL, err := url.Parse(*client)
	if err != nil {
		return err
	}
	peerURL, err := url.Parse(*peer)
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Dir = *dir
	config.LogLevel = "warn"
	config.UnsafeNoFsync = true
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	member, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer member.Close()
	select {
	case err := <-member.Err():
		return err
	case <-member.Server.StopNotify():
		return fmt.Errorf("the member stopped")
	}
}
