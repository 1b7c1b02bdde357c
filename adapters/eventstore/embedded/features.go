package embedded

import (
	"context"
	"time"

	gossip "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	features "github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
)

const streamsService = "event_store.client.streams.streams"

// GetSupportedMethods tells the client what this server can do; it asks before anything
// else, without credentials.
func (s *Server) GetSupportedMethods(context.Context, *shared.Empty) (*features.SupportedMethods, error) {
	method := func(name string, offers ...string) *features.SupportedMethod {
		return &features.SupportedMethod{MethodName: name, ServiceName: streamsService, Features: offers}
	}
	return &features.SupportedMethods{
		EventStoreServerVersion: Version,
		Methods: []*features.SupportedMethod{
			method("read", "position", "events"),
			method("append"),
			method("delete"),
			method("tombstone"),
			method("batchappend", "deadline_duration"),
		},
	}, nil
}

var nodeID = uuid.New()

// gossipService answers with the one node there is: a living leader.
type gossipService struct {
	gossip.UnimplementedGossipServer
	endPoint *gossip.EndPoint
}

func (g *gossipService) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{{
		InstanceId:   structured(nodeID),
		TimeStamp:    time.Now().UnixNano() / 100,
		State:        gossip.MemberInfo_Leader,
		IsAlive:      true,
		HttpEndPoint: g.endPoint,
	}}}, nil
}
