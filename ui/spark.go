package ui

import (
	"fmt"
	"html/template"
	"strings"
)

// spark draws bars, one for each minute: what has succeeded, and on top of it what has failed.
func spark(succeeded, failed []int) template.HTML {
	const width, height, bar = 3, 24, 2
	most, done, bad := 1, 0, 0
	for i := range succeeded {
		most = max(most, succeeded[i]+failed[i])
		done, bad = done+succeeded[i], bad+failed[i]
	}
	var good, ill strings.Builder
	for i := range succeeded {
		high := func(n int) int {
			if n == 0 {
				return 0
			}
			return max(n*height/most, 1)
		}
		g, f := high(succeeded[i]), high(failed[i])
		g = min(g, height-f)
		box := func(b *strings.Builder, y, h int) {
			if h > 0 {
				_, _ = fmt.Fprintf(b, "M%d %dh%dv%dh-%dz", i*width, y, bar, h, bar)
			}
		}
		box(&good, height-g, g)
		box(&ill, height-g-f, f)
	}
	return template.HTML(fmt.Sprintf(`<svg class="spark" viewBox="0 0 %d %d" role="img" aria-label="%s succeeded and %s failed in the last hour">`+
		`<path class="base" d="M0 %d.5h%d"/><path class="success" d="%s"/><path class="failure" d="%s"/></svg>`,
		len(succeeded)*width, height+1, count(done), count(bad), height, len(succeeded)*width, good.String(), ill.String()))
}
