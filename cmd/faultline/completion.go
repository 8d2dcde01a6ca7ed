package main

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
)

// shells are those that completion can be written for.
var shells = map[string]func(*cobra.Command, io.Writer) error{
	"bash":       func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
	"zsh":        func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
	"fish":       func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
	"powershell": func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) },
}

func newCompletion(a *app) *cobra.Command {
	names := slices.Sorted(maps.Keys(shells))
	return &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "Print the script that completes faultline in a shell",
		Example: `  source <(faultline completion bash)
  faultline completion zsh > "${fpath[1]}/_faultline"
  faultline completion fish > ~/.config/fish/completions/faultline.fish
  faultline completion powershell | Out-String | Invoke-Expression`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := shells[args[0]]
			if !ok {
				return fail(experiments.ExitUsage, "there is no completion for %q: there is for %s", args[0], strings.Join(names, ", "))
			}
			if err := write(cmd.Root(), a.out); err != nil {
				return fail(experiments.ExitUsage, "print the completion for %s: %w", args[0], err)
			}
			return nil
		},
	}
}
