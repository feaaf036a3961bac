// Command node is the one node of a local cluster: see internal/node.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gateway-rs/gateway/conformance/internal/node"
)

func main() {
	run := serve
	if len(os.Args) > 1 && os.Args[1] == node.ConfineCommand {
		run = node.Confine
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func serve() error {
	log.SetFlags(log.LUTC | log.Ltime | log.Lmicroseconds)
	config := node.Config{Images: node.Images{}}
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	flag.StringVar(&config.Name, "name", "node", "name of the Node")
	address := flag.String("address", "10.244.0.1", "the node's address on the pods' network")
	pods := flag.String("pods", "10.244.0.0/16", "range for the addresses of pods")
	balancers := flag.String("load-balancers", "10.98.0.0/24", "range for Services of type LoadBalancer")
	dns := flag.String("dns", "10.96.0.10", "address of the cluster's DNS")
	flag.StringVar(&config.APIServiceAddress, "api-service", "10.96.0.1", "address of the API server's Service")
	port := flag.Uint("port", 10250, "port for pods/log and pods/exec")
	flag.StringVar(&config.Certificate, "certificate", "", "the node's certificate")
	flag.StringVar(&config.Key, "key", "", "the node's key")
	flag.StringVar(&config.Authority, "authority", "", "certificates that sign clients")
	flag.StringVar(&config.Folder, "folder", "", "where the pods' files and logs are")
	flag.BoolVar(&config.KeepLogs, "keep-logs", false, "keep the logs of deleted pods")
	flag.Var(config.Images, "image", "REPOSITORY=/path/of/program, may be repeated")
	flag.Parse()

	for _, one := range []struct {
		text string
		into *netip.Prefix
	}{{*pods, &config.Pods}, {*balancers, &config.LoadBalancers}} {
		prefix, err := netip.ParsePrefix(one.text)
		if err != nil {
			return err
		}
		*one.into = prefix
	}
	for _, one := range []struct {
		text string
		into *netip.Addr
	}{{*address, &config.Address}, {*dns, &config.DNSAddress}} {
		parsed, err := netip.ParseAddr(one.text)
		if err != nil {
			return err
		}
		*one.into = parsed
	}
	config.Port = uint16(*port)
	rest, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	// Pods start many at once; the API server is on the same machine.
	rest.QPS, rest.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return node.New(config, client).Run(ctx)
}
