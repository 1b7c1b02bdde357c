// Package storetest puts a faulty network between a client and an event store,
// for tests of what the sequencer and the projections do then.
//
// The proxy passes bytes on and looks at none of them, so TLS goes through it;
// the server's certificate has to be valid for 127.0.0.1. Connect to it by one
// host with the scheme esdb: a client that discovers by gossip goes to the
// address the server advertises.
package storetest

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Proxy is a listener on the loopback that passes connections on to a server,
// and harms them when told to. It is safe for concurrent use.
type Proxy struct {
	// Addr is the host:port to connect to.
	Addr string

	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex // owns all below
	target   string
	refuse   bool
	delay    time.Duration
	requests bool          // requests are held
	release  chan struct{} // nil: responses pass; else closed when they pass again
	links    map[*link]struct{}
	closed   bool
}

// NewProxy starts a proxy to the server at target (host:port) and ends it with
// the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen for the proxy: %v", err)
	}
	p := &Proxy{Addr: listener.Addr().String(), listener: listener, target: target, links: map[*link]struct{}{}}
	p.running.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Through returns connectionString with its host replaced by the proxy's.
func (p *Proxy) Through(tb testing.TB, connectionString string) string {
	tb.Helper()
	u, err := url.Parse(connectionString)
	if err != nil {
		tb.Fatal("the connection string cannot be rewritten for the proxy: not one host")
	}
	u.Host = p.Addr
	return u.String()
}

// Target makes connections from now on go to another server.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut breaks all connections there are, and what is under way in them. Requests
// that are held then are not lost: they reach the server at Release.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close(false)
	}
}

// Refuse makes new connections fail (true) or pass (false). Those that exist
// stay: see Cut.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// HoldRequests keeps what clients send, in old and new connections, until
// Release. After Cut the client has given it up, and yet it arrives: an append
// that lands late.
func (p *Proxy) HoldRequests() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = true
}

// Held is the number of bytes of requests held now.
func (p *Proxy) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for l := range p.links {
		n += l.heldBytes()
	}
	return n
}

// HoldResponses lets requests through and nothing back, in old and new
// connections, until Release. With Cut in between, the answer is lost.
func (p *Proxy) HoldResponses() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.release == nil {
		p.release = make(chan struct{})
	}
}

// Release lets requests and responses through again, those held first.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = false
	for l := range p.links {
		l.flush()
	}
	if p.release != nil {
		close(p.release)
		p.release = nil
	}
}

// Delay holds each piece of a response back for d; 0 ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Connections is the number of connections to the server now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	for l := range p.links {
		l.close(true)
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.pass(conn) })
	}
}

func (p *Proxy) pass(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target, refuse := p.target, p.refuse || p.closed
	p.mu.Unlock()
	if refuse {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	l := &link{client: client, server: server, cut: make(chan struct{})}
	if !p.add(l) {
		l.close(true)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.passRequests(l) })
	both.Go(func() { p.passResponses(l) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// add registers the link unless it is no longer wanted.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuse {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) passRequests(l *link) {
	defer l.close(false)
	piece := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(piece)
		p.mu.Lock()
		hold := p.requests
		p.mu.Unlock()
		if l.forward(piece[:n], hold) != nil || err != nil {
			return
		}
	}
}

func (p *Proxy) passResponses(l *link) {
	defer l.close(false)
	piece := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(piece)
		if err != nil {
			l.close(true)
			return
		}
		if p.wait(l) {
			_, _ = l.client.Write(piece[:n]) // a client that is gone is noticed by passRequests
		}
	}
}

// wait holds a piece of a response back as told; false means that the link was
// cut meanwhile.
func (p *Proxy) wait(l *link) bool {
	p.mu.Lock()
	release, delay := p.release, p.delay
	p.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.cut:
			return false
		}
	}
	for release != nil {
		select {
		case <-release:
		case <-l.cut:
			return false
		}
		p.mu.Lock()
		release = p.release
		p.mu.Unlock()
	}
	return true
}
