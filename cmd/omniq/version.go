package main

import (
	"context"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionView is what is known of the program itself.
type versionView struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "The version of this command", Args: cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			v := versionView{Version: "unknown"}
			if info, ok := debug.ReadBuildInfo(); ok {
				v.Version, v.Go = info.Main.Version, info.GoVersion
			}
			return show(p, v, field{"version", v.Version}, field{"go", v.Go})
		}),
	}
}
