package redis_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/redis"
)

// store is what a namespace has, for a test to look at while nobody changes it.
type store struct {
	t      *testing.T
	c      rueidis.Client
	prefix string
	keys   map[string]bool
	heads  map[string]map[string]any
}

func (s *store) number(id, field string, otherwise int64) int64 {
	if n, ok := s.heads[id][field].(int64); ok {
		return n
	}
	return otherwise
}

func (s *store) text(id, field string) string { v, _ := s.heads[id][field].(string); return v }
func (s *store) is(id, field string) bool     { v, _ := s.heads[id][field].(bool); return v }

func (s *store) status(id string) omniq.Status { return omniq.Status(s.number(id, "status", 0)) }

// scores are the members of a sorted set.
func (s *store) scores(key string) map[string]float64 {
	list, err := s.c.Do(context.Background(), s.c.B().Zrange().Key(s.prefix+key).Min("0").Max("-1").Withscores().Build()).AsZScores()
	require.NoError(s.t, err)
	all := make(map[string]float64)
	for _, m := range list {
		all[m.Member] = m.Score
	}
	return all
}

func (s *store) hash(key string) map[string]string {
	m, err := s.c.Do(context.Background(), s.c.B().Hgetall().Key(s.prefix+key).Build()).AsStrMap()
	require.NoError(s.t, err)
	return m
}

func (s *store) get(key string) string {
	v, err := s.c.Do(context.Background(), s.c.B().Get().Key(s.prefix+key).Build()).ToString()
	if !rueidis.IsRedisNil(err) { // its time is over
		require.NoError(s.t, err)
	}
	return v
}

// order is where a task stands in what comes: see order in the library.
func (s *store) order(id string) string {
	prio := s.text(id, "prio")
	if prio == "" {
		prio = string(binary.BigEndian.AppendUint64(nil, math.MaxInt64))
	}
	return prio + string(binary.BigEndian.AppendUint64(nil, uint64(s.number(id, "seq", 0)))[2:]) + id
}

// readStore reads a namespace, once what is left to be done by itself is.
func readStore(t *testing.T, at, name string) *store {
	t.Helper()
	b, err := redis.Open(context.Background(), at, redis.WithNamespace(name), redis.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err) // it does what is left
	defer func() { assert.NoError(t, b.Close()) }()
	s := &store{t: t, c: connect(t, at), prefix: "{" + name + "}:", keys: make(map[string]bool), heads: make(map[string]map[string]any)}
	require.Eventually(t, func() bool {
		n, err := s.c.Do(context.Background(), s.c.B().Exists().Key(s.prefix+"j").Build()).AsInt64()
		return err == nil && n == 0
	}, time.Minute, time.Millisecond, "jobs are done")
	require.NoError(t, b.Close())
	for cursor := uint64(0); ; {
		found, err := s.c.Do(context.Background(), s.c.B().Scan().Cursor(cursor).Match("{"+name+"}:*").Count(1000).Build()).AsScanEntry()
		require.NoError(t, err)
		for _, key := range found.Elements {
			s.keys[strings.TrimPrefix(key, s.prefix)] = true
		}
		if cursor = found.Cursor; cursor == 0 {
			break
		}
	}
	for key := range s.keys {
		if id, ok := strings.CutPrefix(key, "t:"); ok {
			head, err := redis.Head(s.get(key))
			require.NoError(t, err)
			s.heads[id] = head
		}
	}
	return s
}

// checkConsistent looks whether what is kept of tasks in several places is the same in all of them, and nothing is left of those that are gone.
func checkConsistent(t *testing.T, at, name string) {
	t.Helper()
	s := readStore(t, at, name)
	s.checkLists()
	s.checkTimes()
	s.checkReady()
	s.checkTexts()
	s.checkFlows()
	s.checkEdges()
}

func (s *store) checkLists() {
	listed := 0
	for key := range s.keys {
		if rest, ok := strings.CutPrefix(key, "l:"); ok {
			status, queue, _ := strings.Cut(rest, ":")
			for id, row := range s.scores(key) {
				listed++
				assert.Equal(s.t, status, strconv.Itoa(int(s.status(id))), "a task is in the list of its state")
				assert.Equal(s.t, queue, s.text(id, "queue"))
				assert.Equal(s.t, row, float64(s.number(id, "row", 0)))
			}
		}
	}
	assert.Len(s.t, s.heads, listed, "each task is in one list")
}

func (s *store) checkTimes() {
	comes, goes := s.scores("c"), s.scores("g")
	coming, going := 0, 0
	for id := range s.heads {
		at := s.number(id, "at", 0)
		switch {
		case at == 0:
		case s.status(id).Final():
			going++
			assert.Equal(s.t, float64(at), goes[id], "the end of a result is known")
		default:
			coming++
			assert.Equal(s.t, float64(at), comes[s.order(id)], "what comes of a task is known")
		}
	}
	assert.Len(s.t, comes, coming)
	assert.Len(s.t, goes, going)
}

func (s *store) checkReady() {
	ready := make(map[string]map[string]int) // by queue and lane
	running := make(map[string]map[string]int)
	count := func(to map[string]map[string]int, queue, lane string) {
		if to[queue] == nil {
			to[queue] = make(map[string]int)
		}
		to[queue][lane]++
	}
	for id := range s.heads {
		queue, lane := s.text(id, "queue"), s.text(id, "lane")
		if s.is(id, "ready") {
			assert.Equal(s.t, omniq.StatusPending, s.status(id), "a task that is ready is pending")
			count(ready, queue, lane)
		}
		if s.status(id) == omniq.StatusRunning {
			count(running, queue, lane)
		}
	}
	for key := range s.keys {
		if rest, ok := strings.CutPrefix(key, "q:"); ok {
			queue, lane, _ := strings.Cut(rest, "\x00")
			members := s.scores(key)
			assert.Len(s.t, members, ready[queue][lane], "what is ready of queue %q, lane %q", queue, lane)
			for member := range members {
				assert.True(s.t, s.is(member[22:], "ready"))
			}
		}
		if queue, ok := strings.CutPrefix(key, "L:"); ok {
			q, err := redis.Head(s.get("Q:" + queue))
			require.NoError(s.t, err)
			lanes := s.hash(key)
			assert.EqualValues(s.t, len(lanes)-1, q["lanes"], "the lanes of queue %q are counted", queue)
			named, active := 0, 0
			turns, rests := s.scores("T:"+queue), s.scores("R:"+queue)
			placed := 0
			for lane, packed := range lanes {
				l, err := redis.Head(packed)
				require.NoError(s.t, err)
				assert.EqualValues(s.t, ready[queue][lane], l["n"], "what is ready of queue %q, lane %q", queue, lane)
				assert.EqualValues(s.t, running[queue][lane], l["running"], "what runs of queue %q, lane %q", queue, lane)
				if lane != "" {
					named += ready[queue][lane]
					if ready[queue][lane]+running[queue][lane] > 0 {
						active++
					}
				}
				for what, set := range map[string]map[string]float64{"turn": turns, "rest": rests} {
					score, in := set[lane]
					want, is := l[what].(int64)
					assert.Equal(s.t, is, in, "whether lane %q of queue %q has a %s", lane, queue, what)
					if in {
						placed++
						assert.Equal(s.t, float64(want), score)
					}
				}
			}
			assert.EqualValues(s.t, named, q["ready"], "what is ready of the lanes of queue %q", queue)
			assert.EqualValues(s.t, active, q["active"], "the active lanes of queue %q", queue)
			assert.Equal(s.t, len(turns)+len(rests), placed)
		}
	}
}

// checkTexts looks at what a task has beside its head.
func (s *store) checkTexts() {
	for id := range s.heads {
		status := s.status(id)
		if status != omniq.StatusSuccess { // of one that has succeeded it may be kept
			assert.Equal(s.t, !s.is(id, "recorded"), s.keys["e:"+id], "whether there is an envelope of a task that is %v", status)
		}
		_, made := s.heads[id]["why"]
		assert.Equal(s.t, status.Final() && !made, s.keys["r:"+id], "whether there is a result of a task that is %v", status)
		assert.Equal(s.t, s.is(id, "failed"), s.keys["f:"+id], "whether there is an error of a task that is %v", status)
	}
	for key := range s.keys {
		kind, rest, ok := strings.Cut(key, ":")
		switch {
		case !ok || kind == "":
			assert.Contains(s.t, []string{"c", "g", "j", "k", "ks", "p", "qs", "seq", "yy", "ev", "evn", "evg", "evt", "format"}, key, "a key that is known")
		case strings.Contains("e r f n d D", kind) || kind == "s":
			assert.True(s.t, s.heads[rest[:16]] != nil, "of a task that is gone there is a key whose kind is %s", kind)
		case kind == "u":
			holder := s.get(key)
			if holder != "" && binary.BigEndian.Uint64([]byte(holder[16:])) == 0 {
				require.True(s.t, s.heads[holder[:16]] != nil, "who holds a key is there")
				assert.False(s.t, s.status(holder[:16]).Final())
			}
		case kind == "Q", kind == "L", kind == "T", kind == "R", kind == "q", kind == "l", kind == "t", kind == "h", kind == "w", kind == "wn",
			kind == "b", kind == "y", kind == "o", kind == "z", kind == "v":
		default:
			assert.Fail(s.t, "a key of an unknown kind", "%q", key)
		}
	}
}

func (s *store) checkFlows() {
	members := 0
	for key := range s.keys {
		flow, ok := strings.CutPrefix(key, "w:")
		if !ok {
			continue
		}
		counts := make(map[string]string)
		by := make(map[string]int)
		for id, number := range s.scores(key) {
			members++
			assert.Equal(s.t, flow, s.text(id, "flow"))
			assert.Equal(s.t, number, float64(s.number(id, "member", 0)))
			by[strconv.Itoa(int(s.status(id)))]++
		}
		for status, n := range by {
			counts[status] = strconv.Itoa(n)
		}
		assert.Equal(s.t, counts, s.hash("wn:"+flow), "the members of a flow are counted")
	}
	for id := range s.heads {
		if s.text(id, "flow") != "" {
			members--
		}
	}
	assert.Zero(s.t, members, "each member is in its flow")
	for key := range s.keys {
		if flow, ok := strings.CutPrefix(key, "wn:"); ok {
			assert.True(s.t, s.keys["w:"+flow], "of a flow that is gone nothing is counted")
		}
	}
}

func (s *store) checkEdges() {
	const edge = 18
	wanted, followers := make(map[string]int64), make(map[string]int)
	for id := range s.heads {
		for kind, field := range map[string]string{"d:": "own", "D:": "after"} {
			if !s.is(id, field) {
				assert.False(s.t, s.keys[kind+id], "edges of a task that has none")
				continue
			}
			edges, led := "", make(map[string]bool)
			if s.keys[kind+id] {
				edges = s.get(kind + id)
			}
			for ; len(edges) >= edge; edges = edges[edge:] {
				if to := edges[:16]; !led[to] { // several edges may lead to one
					led[to] = true
					followers[to]++
				}
				if edges[17] == 1 && s.is(id, "holds_"+field) {
					wanted[edges[:16]]++
				}
			}
		}
		if s.status(id) == omniq.StatusWaiting {
			open := int64(0)
			if s.keys["o:"+id] {
				n, err := s.c.Do(context.Background(), s.c.B().Hlen().Key(s.prefix+"o:"+id).Build()).AsInt64()
				require.NoError(s.t, err)
				open = n
			}
			assert.Equal(s.t, open, s.number(id, "open", 0), "the open edges of a task are counted")
			assert.True(s.t, open > 0 || s.is(id, "manual"), "no task waits whose dependencies have all ended")
		}
	}
	for id := range s.heads {
		assert.Equal(s.t, wanted[id], s.number(id, "wanted", 0), "for how many edges a result is kept")
		assert.Equal(s.t, followers[id] > 0, s.is(id, "followed"), "whether a task is followed")
	}
	for id, n := range followers {
		assert.Len(s.t, s.scores("b:"+id), n, "the followers of a task")
		assert.Equal(s.t, s.heads[id] == nil, s.keys["y:"+id], "of a task that is gone it is left how it ended")
	}
	for key := range s.keys {
		if id, ok := strings.CutPrefix(key, "b:"); ok {
			assert.Positive(s.t, followers[id], "followers of whom none is kept")
		}
		if id, ok := strings.CutPrefix(key, "y:"); ok {
			assert.Positive(s.t, followers[id], "what is left of a task that nobody follows")
		}
		if id, ok := strings.CutPrefix(key, "o:"); ok {
			assert.True(s.t, s.heads[id] != nil, "open edges of a task that is gone")
		}
	}
}
