module github.com/omniq-go/omniq/backend/redis

go 1.26.0

require (
	github.com/google/uuid v1.6.0
	github.com/omniq-go/omniq v0.1.0
	github.com/redis/rueidis v1.0.79
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/goccy/go-json v0.12.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.47.0 // indirect
)
