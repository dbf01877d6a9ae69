package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

// groupView are tasks with errors that are alike.
type groupView struct {
	Count   int       `json:"count"`
	Type    string    `json:"type"`
	Message string    `json:"message"`
	First   instant   `json:"first"`
	Last    instant   `json:"last"`
	Newest  uuid.UUID `json:"newest"`
}

var groupColumns = []column[groupView]{
	{head: "COUNT", cell: func(g groupView) string { return strconv.Itoa(g.Count) }, right: true},
	{head: "TYPE", cell: func(g groupView) string { return g.Type }},
	{head: "MESSAGE", cell: func(g groupView) string { return g.Message }},
	{head: "FIRST", cell: func(g groupView) string { return g.First.String() }},
	{head: "LAST", cell: func(g groupView) string { return g.Last.String() }},
	{head: "NEWEST", cell: func(g groupView) string { return g.Newest.String() }},
}

func (p *program) errorsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "errors", Short: "Why tasks have failed: their errors in groups, the largest first", Args: cobra.NoArgs,
		Long: fmt.Sprintf(`Why tasks have failed: their errors in groups, the largest first. Messages are alike if they differ in numbers,
IDs and what is in quotes alone. In each state the %d newest tasks are looked at.

NEWEST is the ID of the newest task of a group: by it the commands of task find all of the group.`, omniq.MaxGrouped),
		Example: "  omniq errors --queue mail\n  omniq task list --like 0193b5a2-7c4e-7f00-8000-00000000002a\n" +
			"  omniq task requeue --like 0193b5a2-7c4e-7f00-8000-00000000002a",
	}
	q := p.queryFlags(c, false)
	most := maxFlag(c, 50, "how many groups")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
		query, err := q.read(ctx, client, omniq.Statuses())
		if err != nil {
			return err
		}
		if q.statuses == nil {
			query.Statuses = nil // of those that have failed
		}
		groups, err := client.ErrorGroups(ctx, query)
		if err != nil {
			return err
		}
		views := make([]groupView, len(groups))
		for i, g := range groups {
			views[i] = groupView{g.Count, g.Type, g.Message, instant{g.First}, instant{g.Last}, g.Newest.ID}
		}
		if err := list(p, "no errors of tasks "+q.String(), groupColumns, first(all(views), *most)); err != nil {
			return err
		}
		if rest := len(views) - *most; *most > 0 && rest > 0 {
			p.tell("%s; --max 0 shows all", plural(rest, "further group"))
		}
		return nil
	})
	return c
}
