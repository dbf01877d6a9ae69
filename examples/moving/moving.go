// Package moving is the code of the pages from-river, from-asynq and from-celery in docs, as it reads with OmniQ. A test keeps the pages
// and the packages below it the same, and runs what they show.
package moving
