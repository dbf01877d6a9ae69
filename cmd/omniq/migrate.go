package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

func (p *program) migrateCommand() *cobra.Command {
	c := &cobra.Command{Use: "migrate", Short: "The tables of the engine: which there are, and how they become those of this version"}
	c.AddCommand(
		&cobra.Command{
			Use: "status", Short: "Which tables there are, and which this version works with", Args: cobra.NoArgs,
			Long: `Which tables there are, and which this version works with. Nothing is changed. The exit status is 3 if they are to be
migrated.`,
			RunE: p.schemaDoes(func(s omniq.Schema) error {
				v := schemaView{s.Version, s.Newest, s.Version == s.Newest}
				state := "up to date"
				if !v.Current {
					state = "to be migrated: omniq migrate up"
				}
				err := show(p, v, field{"version", strconv.Itoa(v.Version)}, field{"newest", strconv.Itoa(v.Newest)}, field{"state", state})
				if err == nil && !v.Current {
					err = &failure{status: exitNot}
				}
				return err
			}),
		},
		&cobra.Command{
			Use: "up", Short: "Make the tables, or those of this version of older ones", Args: cobra.NoArgs,
			Long: `Make the tables, or those of this version of older ones, in one transaction. Programs of an older version that have
them open get errors from then on. Take a copy first: there is no way back.`,
			RunE: does(func(ctx context.Context, _ []string) error {
				config, err := p.config()
				if err != nil {
					return err
				}
				before, err := p.schema(ctx, config)
				if err != nil {
					return err
				}
				backend, err := config.Open(ctx, engines...) // however long it takes
				if err != nil {
					return err
				}
				if err := backend.Close(); err != nil {
					return err
				}
				if before.Version == before.Newest {
					p.tell("the tables have version %d already", before.Newest)
				} else {
					p.tell("the tables have version %d now, and had %d", before.Newest, before.Version)
				}
				return nil
			}),
		},
		&cobra.Command{
			Use: "sql", Short: "Print the SQL that migrate up would run, for those who run it themselves", Args: cobra.NoArgs,
			RunE: p.schemaDoes(func(s omniq.Schema) error {
				if s.SQL == "" {
					p.tell("there is nothing to do: the tables have version %d", s.Version)
					return nil
				}
				_, err := io.WriteString(p.out, s.SQL)
				return err
			}),
		},
	)
	return c
}

// schemaView is which tables there are.
type schemaView struct {
	Version int  `json:"version"`
	Newest  int  `json:"newest"`
	Current bool `json:"current"`
}

func (p *program) schemaDoes(do func(omniq.Schema) error) func(*cobra.Command, []string) error {
	return does(func(ctx context.Context, _ []string) error {
		config, err := p.config()
		if err != nil {
			return err
		}
		schema, err := p.schema(ctx, config)
		if err != nil {
			return fmt.Errorf("which tables there are: %w", err)
		}
		return do(schema)
	})
}
