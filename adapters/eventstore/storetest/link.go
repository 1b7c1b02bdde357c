package storetest

import (
	"net"
	"sync"
)

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	cut            chan struct{} // closed when the client was cut off

	mu   sync.Mutex // owns all below, and the order of writes to server
	held []byte     // requests not yet passed on
	gone bool       // cut is closed
}

// forward passes a piece of the requests on, or keeps it behind what is kept.
func (l *link) forward(piece []byte, hold bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if hold || len(l.held) > 0 {
		l.held = append(l.held, piece...)
	}
	if hold {
		return nil
	}
	if len(l.held) > 0 {
		piece, l.held = l.held, nil
	}
	_, err := l.server.Write(piece)
	return err
}

// flush passes on what is held, also for a client that is gone.
func (l *link) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.server.Write(l.held) // a server that is gone is noticed by its reader
	l.held = nil
}

func (l *link) heldBytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

// close cuts the client off, and the server too unless something is held for it.
func (l *link) close(all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone {
		l.gone = true
		close(l.cut)
		_ = l.client.Close()
	}
	if all || len(l.held) == 0 {
		_ = l.server.Close()
	}
}
