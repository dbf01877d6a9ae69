package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

func (p *program) taskEnqueueCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "enqueue NAME", Short: "Enqueue a task, and print its ID", Args: cobra.ExactArgs(1),
		Example: "  omniq task enqueue send_mail --args '[\"ada@example.org\"]' --kwargs '{\"subject\":\"hi\"}' --queue mail\n" +
			"  omniq task enqueue report --args @args.json --wait",
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return p.names()(c, args, begun)
		},
	}
	flags := c.Flags()
	args := flags.String("args", "[]", "positional arguments: a `JSON` array, or @ and a file, or @- for the standard input")
	kwargs := flags.String("kwargs", "{}", "keyword arguments: a `JSON` object, or @ and a file")
	queue := flags.String("queue", "", "`queue` to wait in")
	lane := flags.String("lane", "", "`lane` of the queue")
	id := flags.String("id", "", "`ID` of the task; one that is there already is refused")
	unique := flags.String("unique", "", "unique `key`: refused while another task of the name has it")
	delay := flags.Duration("delay", 0, "how long until it is due")
	at := flags.String("at", "", "`time` at which it is due: RFC 3339")
	ttl := flags.Duration("ttl", 0, "how long it may wait until it starts")
	resultTTL := flags.Duration("result-ttl", 0, "how long its result can be read")
	keep := flags.Bool("keep-task", false, "keep the task with its result when it has succeeded, too")
	limit := flags.Duration("task-timeout", 0, "how long an attempt may take")
	priority := flags.Int("priority", 0, "higher is earlier")
	retries := flags.Int("retries", 0, "how often it is tried again")
	metadata := flags.StringToString("metadata", nil, "metadata: `key=value`, more than once")
	wait := flags.Bool("wait", false, "wait for its result, and print that")
	p.completeQueues(c, "queue")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, names []string) error {
		positional, err := p.readPayload("args", *args)
		if err != nil {
			return err
		}
		named, err := p.readPayload("kwargs", *kwargs)
		if err != nil {
			return err
		}
		var opts []omniq.TaskOption
		given := func(flag string, o omniq.TaskOption) {
			if flags.Changed(flag) {
				opts = append(opts, o)
			}
		}
		given("queue", omniq.Queue(*queue))
		given("lane", omniq.Lane(*lane))
		given("unique", omniq.Unique(*unique))
		given("delay", omniq.Delay(*delay))
		given("ttl", omniq.TTL(*ttl))
		given("result-ttl", omniq.ResultTTL(*resultTTL))
		if *keep {
			opts = append(opts, omniq.KeepTask())
		}
		given("task-timeout", omniq.Timeout(*limit))
		given("priority", omniq.Priority(*priority))
		given("retries", omniq.Retries(*retries))
		if flags.Changed("at") {
			due, err := time.Parse(time.RFC3339, *at)
			if err != nil {
				return wrongUsage("--at is %q, want a time like 2026-03-01T02:30:00Z", *at)
			}
			opts = append(opts, omniq.RunAt(due))
		}
		if flags.Changed("id") {
			chosen, err := readID(*id)
			if err != nil {
				return err
			}
			opts = append(opts, omniq.ID(chosen))
		}
		for _, pair := range sortedPairs(*metadata) {
			opts = append(opts, omniq.Metadata(pair[0], pair[1]))
		}
		task, err := omniq.NewTask(names[0], positional, named, opts...)
		if err != nil {
			return err
		}
		if err := client.Enqueue(ctx, task); err != nil {
			return err
		}
		if *wait {
			r, err := client.Wait(ctx, task.ID)
			if err != nil {
				return err
			}
			return p.showResult(&r)
		}
		if p.output == asTable {
			_, err := fmt.Fprintln(p.out, task.ID)
			return err
		}
		return document(p, task)
	})
	return c
}

// readPayload reads JSON from a flag, a file or the standard input.
func (p *program) readPayload(flag, text string) (omniq.Raw, error) {
	data := []byte(text)
	if name, ok := strings.CutPrefix(text, "@"); ok {
		var err error
		if name == "-" {
			data, err = io.ReadAll(p.in)
		} else {
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
	}
	if !json.Valid(data) {
		return nil, wrongUsage("--%s is no JSON", flag)
	}
	return data, nil
}

// sortedPairs are the entries of a map by their keys.
func sortedPairs(m map[string]string) [][2]string {
	pairs := make([][2]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, [2]string{key, m[key]})
	}
	return pairs
}
