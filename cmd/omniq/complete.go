package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

// completer is what cobra asks for the words that could stand where somebody types.
type completer func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// complete gives a flag fixed words.
func complete(c *cobra.Command, flag string, words ...string) {
	completeBy(c, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	})
}

func completeBy(c *cobra.Command, flag string, words completer) {
	if err := c.RegisterFlagCompletionFunc(flag, words); err != nil {
		panic(err) // there is no such flag, or it has words already
	}
}

// fromEngine asks the engine, which has a moment to answer. Whoever types gets no word rather than an error.
func (p *program) fromEngine(ask func(ctx context.Context, client *omniq.Client, tell func(word string)) error) completer {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const moment, most = 2 * time.Second, 200
		p.timeout = min(p.timeout, moment)
		ctx, cancel := context.WithTimeout(c.Context(), moment)
		defer cancel()
		var words []string
		_ = p.with(ctx, func(client *omniq.Client) error {
			return ask(ctx, client, func(word string) {
				if plain, _, _ := strings.Cut(word, "\t"); plain != "" && plain == printable(plain) && !slices.Contains(args, word) && !slices.Contains(words, word) && len(words) < most {
					words = append(words, word)
				}
			})
		})
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func (p *program) queues() completer {
	return p.fromEngine(func(ctx context.Context, client *omniq.Client, tell func(string)) error {
		stats, err := client.Stats(ctx)
		for _, s := range stats {
			tell(s.Queue)
		}
		return err
	})
}

func (p *program) completeQueues(c *cobra.Command, flag string) { completeBy(c, flag, p.queues()) }

// names are the functions that workers have, and those that were called lately.
func (p *program) names() completer {
	return p.fromEngine(func(ctx context.Context, client *omniq.Client, tell func(string)) error {
		workers, err := client.Workers(ctx)
		if err != nil {
			return err
		}
		for _, w := range workers {
			for _, name := range w.Names {
				tell(name)
			}
		}
		minutes, err := client.History(ctx, time.Hour)
		for _, m := range minutes {
			tell(m.FuncName)
		}
		return err
	})
}

func (p *program) completeNames(c *cobra.Command, flag string) { completeBy(c, flag, p.names()) }

func (p *program) completeWorkers(c *cobra.Command, flag string) {
	completeBy(c, flag, p.fromEngine(func(ctx context.Context, client *omniq.Client, tell func(string)) error {
		workers, err := client.Workers(ctx)
		for _, w := range workers {
			tell(w.ID)
		}
		return err
	}))
}

func (p *program) schedules() completer {
	return p.fromEngine(func(ctx context.Context, client *omniq.Client, tell func(string)) error {
		for s, err := range client.Schedules(ctx) {
			if err == nil {
				tell(s.Name)
			}
		}
		return nil
	})
}

// taskIDs are those of the newest tasks in some states.
func (p *program) taskIDs(statuses ...omniq.Status) completer {
	return p.fromEngine(func(ctx context.Context, client *omniq.Client, tell func(string)) error {
		const newest = 20
		for info, err := range first(client.Search(ctx, omniq.Query{Statuses: statuses}), newest) {
			if err != nil {
				return err
			}
			tell(info.ID.String() + "\t" + printable(info.FuncName) + " " + info.Status.String())
		}
		return nil
	})
}

// flowIDs are those of the flows of the newest tasks.
func (p *program) flowIDs() completer {
	return p.fromEngine(func(ctx context.Context, client *omniq.Client, tell func(string)) error {
		const newest = 20
		for f, err := range first(flows(ctx, client, omniq.Query{Statuses: omniq.Statuses()}, omniq.MaxGrouped), newest) {
			if err != nil {
				return err
			}
			tell(f.Flow.String() + "\t" + f.Status.String())
		}
		return nil
	})
}
