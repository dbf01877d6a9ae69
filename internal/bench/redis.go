package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/internal/redisserver"
)

var redisEngine = engine{
	name: "redis",
	systems: []system{
		omniqSystem("defaults of `redis.Open` and `NewWorker`, a result of each task", openRedis),
		asynqSystem("asynq", "asynq", "defaults (polls each second), but as many workers as all", asynqSettings{}),
		asynqSystem("asynq-tuned", "asynq, tuned", "polls each 5 ms; the finished task and a result are kept for an hour",
			asynqSettings{poll: 5 * time.Millisecond, kept: true}),
		asynqSystem("asynq-defaults", "asynq, its own workers", "as many workers as CPUs, its default", asynqSettings{ownWorkers: true}),
		rawRedis,
		floorRedis,
	},
	measurements: []measurement{enqueueOne, enqueueMany, burnDownAll, batchesByFour, latencies, idleness},
	begin:        beginRedis,
	place:        func(_ settings, name string) string { return name },
	cpu:          redisCPU,
}

// beginRedis finds the server that is to be used, or starts one.
func beginRedis(ctx context.Context, s settings) (heading, url string, end func() error, err error) {
	url, end = cmp.Or(s.url, os.Getenv(redisserver.URLVariable)), func() error { return nil }
	if url == "" {
		started, err := redisserver.Start(ctx, s.dir, "--appendonly", "yes", "--appendfsync", s.appendfsync)
		if err != nil {
			return "", "", nil, err
		}
		url, end = started.URL(), started.Close
	}
	heading, err = examineRedis(ctx, url)
	if err != nil {
		return "", "", nil, errors.Join(err, end())
	}
	return heading, url, end, nil
}

// examineRedis says what a server is set to. Its database must be empty: it is emptied after each measurement.
func examineRedis(ctx context.Context, url string) (heading string, err error) {
	c, err := connectRedis(url)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if n, err := c.Do(ctx, c.B().Dbsize().Build()).AsInt64(); err != nil || n > 0 {
		return "", errors.Join(fmt.Errorf("the database of the server has %d keys, and is emptied here: name one that is empty", n), err)
	}
	version, err := redisInfo(ctx, c, "server", "redis_version")
	if err != nil {
		return "", err
	}
	config, err := c.Do(ctx, c.B().ConfigGet().Parameter("appendonly", "appendfsync").Build()).AsStrMap()
	return fmt.Sprintf("Redis %s, appendonly %s, appendfsync %s", version, config["appendonly"], config["appendfsync"]), err
}

func connectRedis(url string) (rueidis.Client, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	option.DisableCache = true
	return rueidis.NewClient(option)
}

// redisInfo returns a value of the server's INFO.
func redisInfo(ctx context.Context, c rueidis.Client, section, name string) (string, error) {
	text, err := c.Do(ctx, c.B().Info().Section(section).Build()).ToString()
	for line := range strings.Lines(text) {
		if found, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && found == name {
			return value, nil
		}
	}
	return "", errors.Join(fmt.Errorf("the server's INFO %s has no %s", section, name), err)
}

// redisCPU is how much time of a CPU the server has used.
func redisCPU(ctx context.Context, url string) (used time.Duration, err error) {
	c, err := connectRedis(url)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		text, err := redisInfo(ctx, c, "cpu", name)
		if err != nil {
			return 0, err
		}
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, err
		}
		used += time.Duration(seconds * float64(time.Second))
	}
	return used, nil
}

// emptyRedis removes all that a system has left.
func emptyRedis(ctx context.Context, url string) error {
	c, err := connectRedis(url)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(context.WithoutCancel(ctx), c.B().Flushdb().Sync().Build()).Error()
}

func openRedis(ctx context.Context, o opening) (omniq.Backend, func() error, error) {
	backend, err := redis.Open(ctx, o.url, redis.WithLogger(quiet))
	if err != nil {
		return nil, nil, err
	}
	return backend, func() error { return errors.Join(backend.Close(), emptyRedis(ctx, o.url)) }, nil
}
