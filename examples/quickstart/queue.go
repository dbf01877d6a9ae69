package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// keep is for how long a run can be resumed.
const keep = 24 * time.Hour

// Each run has a queue of its own in the backend, so that any number of them can go on at once. The queue's name begins
// with what the run does, and ends with when it began.

// chooseQueue returns the name of a new run's queue, or with -resume that of the last one that did the same.
func chooseQueue(ctx context.Context, client *omniq.Client, a *assignment, r *report) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	same := sha256.Sum256([]byte(strings.Join(append([]string{a.algorithm, dir}, a.paths...), "\x00")))
	prefix := fmt.Sprintf("digest/%.12x/", same)
	if !a.resume {
		return prefix + time.Now().UTC().Format("20060102T150405.000000000"), nil
	}
	stats, err := client.Stats(ctx)
	if err != nil {
		return "", err
	}
	var last omniq.QueueStats
	for _, s := range stats { // in the order of their names
		if strings.HasPrefix(s.Queue, prefix) {
			last = s
		}
	}
	if last.Queue == "" {
		return "", errors.New("there is no run of these paths and this algorithm to resume")
	}
	r.resumed(last.Succeeded+last.Failed, last.Ready+last.Scheduled+last.Running)
	return last.Queue, nil
}

// taskID is the same for the same file in the same run, so that it is enqueued once.
func taskID(queue, file string) uuid.UUID {
	return uuid.NewSHA1(uuid.NewSHA1(uuid.NameSpaceOID, []byte(queue)), []byte(file))
}
