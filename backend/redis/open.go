package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
)

// ErrServer says that a server is not one for tasks: it is too old, a replica, or would lose what it was given.
var ErrServer = errors.New("redis: server")

// format is the version of what this package keeps. It refuses a newer one.
const format = 1

// Open connects to the server, or the servers, of the URL:
//
//	redis://user:password@host:6379/0                          a server; rediss:// with TLS
//	redis://host:6379?addr=host2:6379&addr=host3:6379          a cluster, by some of its addresses
//	redis://host:26379?addr=host2:26379&master_set=mymaster    a server that Sentinels know
//
// The parameter namespace is for [WithNamespace], db for a number of a database. See rueidis.ParseURL for the others: dial_timeout,
// write_timeout, client_name, skip_verify, protocol.
//
// Opening blocks until the server has answered or ctx has ended. It fails with [omniq.ErrInvalid] if the URL or an option is not valid,
// and with [ErrServer] where tasks would get lost: unless maxmemory-policy is noeviction the server drops tasks when its memory is full.
func Open(ctx context.Context, at string, opts ...Option) (*Backend, error) {
	option, namespace, err := parse(at)
	if err != nil {
		return nil, err
	}
	if namespace != "" {
		opts = append([]Option{WithNamespace(namespace)}, opts...)
	}
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	type opened struct {
		client rueidis.Client
		err    error
	}
	done := make(chan opened, 1)
	go func() { // it takes no context
		client, err := rueidis.NewClient(option)
		done <- opened{client, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("redis: connect: %w", o.err)
		}
		b, err := open(ctx, o.client, c)
		if err != nil {
			o.client.Close()
		}
		return b, err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				o.client.Close()
			}
		}()
		return nil, contextError(ctx)
	}
}

// parameters are those that a URL may have.
var parameters = []string{
	"addr", "client_name", "db", "dial_timeout", "master_set", "max_retries", "namespace", "protocol", "skip_verify", "write_timeout",
}

// parse reads a URL. Its password is in no error.
func parse(text string) (o rueidis.ClientOption, namespace string, err error) {
	const want = "want redis://user:password@host:port/db, or rediss:// with TLS"
	u, err := url.Parse(text)
	if err != nil {
		return o, "", invalid("the URL cannot be read, " + want)
	}
	query := u.Query()
	for name := range query {
		if !slices.Contains(parameters, name) {
			return o, "", invalid("the URL has the parameter %.40q, want some of %q", name, parameters)
		}
	}
	if u.Path == "/" {
		u.Path = "" // it takes that for a number
	}
	if o, err = rueidis.ParseURL(u.String()); err != nil {
		return o, "", invalid("the URL has a wrong scheme, database number or parameter, " + want)
	}
	o.DisableCache = true // scripts read and write: nothing can be kept here
	if o.ClientName == "" {
		o.ClientName = "omniq"
	}
	return o, query.Get("namespace"), nil
}

func open(ctx context.Context, client rueidis.Client, c config) (*Backend, error) {
	b := &Backend{config: c, client: client, closing: make(chan struct{})}
	if err := b.examine(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		return nil, err
	}
	b.hub = newHub(b)
	b.closed = sync.OnceValue(func() error { b.close(); return nil })
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.running.Go(b.hub.listen)
	b.running.Go(b.keepHouse)
	return b, nil
}

// examine refuses a server that would lose tasks, and finds out what it survives.
func (b *Backend) examine(ctx context.Context) error {
	info := make(map[string]string)
	// It is asked of the server that has the keys: a script is the only call that goes there on a cluster.
	text, err := b.client.Do(ctx, b.client.B().Eval().Script("return redis.call('INFO')").Numkeys(1).Key(b.config.prefix()).Build()).ToString()
	if err != nil {
		return fmt.Errorf("redis: INFO, by which it is seen whether the server keeps tasks: %w", err)
	}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	if version := info["redis_version"]; info["valkey_version"] == "" && !atLeast(version, 7) {
		return fmt.Errorf("%w: it is Redis %s, want 7.0 or later, or Valkey 7.2 or later", ErrServer, version)
	}
	if info["role"] != "" && info["role"] != "master" {
		return fmt.Errorf("%w: it is a replica of %s, want its master: name that one in the URL, or the Sentinels by master_set",
			ErrServer, net.JoinHostPort(info["master_host"], info["master_port"]))
	}
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" && !b.config.unsafe {
		return fmt.Errorf("%w: its maxmemory-policy is %s, by which it drops tasks when its memory is full: set it to noeviction, "+
			"in its file and by CONFIG SET maxmemory-policy noeviction", ErrServer, policy)
	}
	if err := b.checkRights(ctx); err != nil {
		return err
	}
	if err := b.checkFormat(ctx); err != nil {
		return err
	}
	b.survival = b.survives(ctx, info)
	return nil
}

func atLeast(version string, major int) bool {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	return err == nil && n >= major
}

// checkRights sees to it that no script fails in its middle because of what the user may not do: to tell of what was done comes last.
func (b *Backend) checkRights(ctx context.Context) error {
	const try = `redis.call('TIME')
		redis.call('PUBSUB', 'SHARDNUMSUB', ARGV[1])
		return redis.call('SPUBLISH', ARGV[1], '')`
	channel := b.config.prefix() + "c:open"
	err := b.client.Do(ctx, b.client.B().Eval().Script(try).Numkeys(1).Key(b.config.prefix()).Arg(channel).Build()).Error()
	if err != nil {
		return fmt.Errorf("redis: TIME, PUBSUB and SPUBLISH in a script, which the user must be allowed (see the package's documentation): %w", err)
	}
	return nil
}

// checkFormat refuses what a newer version of this package keeps there.
func (b *Backend) checkFormat(ctx context.Context) error {
	key := b.config.prefix() + "format"
	found, err := b.client.Do(ctx, b.client.B().Get().Key(key).Build()).AsInt64()
	if rueidis.IsRedisNil(err) { // else nothing is written: a server whose memory is full would refuse it, and who opens may free some
		if err := b.client.Do(ctx, b.client.B().Set().Key(key).Value(strconv.Itoa(format)).Nx().Build()).Error(); err != nil && !rueidis.IsRedisNil(err) {
			return fmt.Errorf("redis: %w", err)
		}
		found, err = b.client.Do(ctx, b.client.B().Get().Key(key).Build()).AsInt64()
	}
	if err != nil {
		return fmt.Errorf("redis: what is kept in namespace %q: %w", b.config.namespace, err)
	}
	if found > format {
		return fmt.Errorf("%w: namespace %q is of a newer version of this package (%d, and this is %d): upgrade it", ErrServer,
			b.config.namespace, found, format)
	}
	return nil
}

// survives is what acknowledged work survives. It warns of what may be lost.
func (b *Backend) survives(ctx context.Context, info map[string]string) omniq.Survival {
	if info["aof_enabled"] != "1" {
		b.config.logger.Warn("redis: the server has no append-only file: what was acknowledged since its last snapshot is lost when it " +
			"ends; set appendonly yes")
		return omniq.SurvivesProcess
	}
	fsync := "everysec" // where the user may not ask
	settings, err := b.client.Do(ctx, b.client.B().ConfigGet().Parameter("appendfsync").Build()).AsStrMap()
	if err == nil && settings["appendfsync"] != "" {
		fsync = settings["appendfsync"]
	}
	if fsync == "always" {
		return omniq.SurvivesPower
	}
	return omniq.SurvivesServer
}

// neverSent reports whether a call has failed before its command can have reached the server.
func neverSent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}
