package ui_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
	"github.com/omniq-go/omniq/ui"
)

// pipes is a listener without a network: its connections stay in the bubble of a test.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.accepted <- there
	return here, nil
}

// A page on which nothing changes stays connected: also by HTTP/2, where a stream is reset when a deadline passes in which nothing is
// written, and by a server that gives each answer little time.
func TestQuietPagesStayLive(t *testing.T) {
	for name, use := range map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				backend := memory.New()
				defer func() { _ = backend.Close() }()
				client, err := omniq.NewClient(backend)
				require.NoError(t, err)
				h := serve(t, client, ui.View)
				var protocols http.Protocols
				use(&protocols)
				server := &http.Server{Handler: h, Protocols: &protocols, ReadTimeout: time.Second, WriteTimeout: time.Second}
				listener := &pipes{make(chan net.Conn), make(chan struct{})}
				go func() { _ = server.Serve(listener) }()
				defer func() { _ = server.Close() }()
				transport := &http.Transport{DialContext: listener.dial, Protocols: &protocols}
				defer transport.CloseIdleConnections()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/events?"+url.Values{"page": {"queues"}}.Encode(), nil)
				require.NoError(t, err)
				res, err := transport.RoundTrip(r)
				require.NoError(t, err)
				defer func() { _ = res.Body.Close() }()
				comments := 0
				for lines := bufio.NewScanner(res.Body); comments < 4; {
					require.True(t, lines.Scan(), "it ends after %d comments: %v", comments, lines.Err())
					if strings.HasPrefix(lines.Text(), ":") {
						comments++
					}
				}
				assert.Equal(t, 4, comments)
			})
		})
	}
}

// Who stays, and reads nothing, does not keep a bulk action for ever.
func TestBulkEndsWhenNobodyReads(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		backend := memory.New()
		defer func() { _ = backend.Close() }()
		client, err := omniq.NewClient(backend)
		require.NoError(t, err)
		h, ended := serve(t, client, ui.Everything), make(chan struct{})
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			h.ServeHTTP(w, r)
		})}
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		go func() { _ = server.Serve(listener) }()
		defer func() { _ = server.Close() }()
		conn, err := listener.dial(t.Context(), "", "")
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		const form = "do=cancel"
		_, err = fmt.Fprintf(conn, "POST /bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
			len(form), form)
		require.NoError(t, err)
		<-ended
	})
}
