// Serves the endpoints of Berth's bench with go-control-plane, one cluster a pool, and changes them on command.
//
// All nodes share one snapshot, the kindest arrangement go-control-plane has: a change is one SetSnapshot. What
// instances are called and where they are is what `xds-alone`, Berth's side of the comparison, does as well.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/durationpb"
)

// everyNode is the cache's key for whoever asks.
type everyNode struct{}

func (everyNode) ID(*corev3.Node) string { return key }

type fleet struct {
	pools    int
	each     int
	draining []bool
	version  int
}

// snapshot makes what every node is to have. Only endpoints get a new version: clusters are as they were.
func (f *fleet) snapshot() (*cache.Snapshot, error) {
	clusters := make([]types.Resource, 0, f.pools)
	endpoints := make([]types.Resource, 0, f.pools)
	for pool := range f.pools {
		clusters = append(clusters, cluster(pool))
		endpoints = append(endpoints, f.assignment(pool))
	}
	snapshot := &cache.Snapshot{}
	snapshot.Resources[types.Cluster] = cache.NewResources("1", clusters)
	snapshot.Resources[types.Endpoint] = cache.NewResources(strconv.Itoa(f.version), endpoints)
	return snapshot, snapshot.Consistent()
}

func (f *fleet) assignment(pool int) *endpointv3.ClusterLoadAssignment {
	endpoints := make([]*endpointv3.LbEndpoint, 0, f.each)
	for number := range f.each {
		instance := pool*f.each + number
		health := corev3.HealthStatus_HEALTHY
		if f.draining[instance] {
			health = corev3.HealthStatus_DRAINING
		}
		endpoints = append(endpoints, &endpointv3.LbEndpoint{
			HealthStatus: health,
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address:  address(instance),
				Hostname: fmt.Sprintf("gpu-%d", instance),
			}},
		})
	}
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: poolName(pool),
		Endpoints:   []*endpointv3.LocalityLbEndpoints{{LbEndpoints: endpoints}},
	}
}

// publish makes a snapshot of the fleet and hands it to whoever watches.
func (f *fleet) publish(to cache.SnapshotCache) error {
	f.version++
	snapshot, err := f.snapshot()
	if err != nil {
		return err
	}
	return to.SetSnapshot(context.Background(), key, snapshot)
}

func poolName(pool int) string { return fmt.Sprintf("pool-%d", pool) }

func cluster(pool int) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 poolName(pool),
		ConnectTimeout:       durationpb.New(5 * time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
			ResourceApiVersion:    corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		}},
	}
}

func address(instance int) *corev3.Address {
	ip := fmt.Sprintf("127.1.%d.%d", instance>>8, instance&255)
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       ip,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: instancePort},
	}}}
}

// obey carries out commands until there are no more: `change N` answers `done NANOSECONDS`.
func obey(f *fleet, to cache.SnapshotCache) error {
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		number, found := strings.CutPrefix(commands.Text(), "change ")
		instance, err := strconv.Atoi(number)
		if !found || err != nil || instance < 0 || instance >= len(f.draining) {
			return fmt.Errorf("not a command: %q", commands.Text())
		}
		begun := time.Now()
		f.draining[instance] = !f.draining[instance]
		if err := f.publish(to); err != nil {
			return err
		}
		fmt.Printf("done %d\n", time.Since(begun).Nanoseconds())
	}
	return commands.Err()
}

func main() {
	port := flag.Int("port", 0, "where it listens, on 127.0.0.1")
	pools := flag.Int("pools", 1, "how many pools there are")
	each := flag.Int("instances", 100, "how many instances a pool has")
	flag.Parse()

	f := &fleet{pools: *pools, each: *each, draining: make([]bool, *pools**each)}
	snapshots := cache.NewSnapshotCache(true, everyNode{}, nil)
	if err := f.publish(snapshots); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	// As its own example is served, and as Berth is: a ping every half minute.
	service := grpc.NewServer(grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second}))
	discovery := server.NewServer(context.Background(), snapshots, nil)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(service, discovery)
	go func() { log.Fatal(service.Serve(listener)) }()
	fmt.Println("ready")
	// Whoever started it is gone when there are no more commands.
	if err := obey(f, snapshots); err != nil {
		log.Fatal(err)
	}
}

const (
	key          = "every node"
	instancePort = 49100
)
