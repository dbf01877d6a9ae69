// want: cannot use omniq.QueueLimit("mail", 1) (value of interface type omniq.WorkerOption) as omniq.ClientOption value in argument to omniq.NewClient

package main

import "github.com/omniq-go/omniq"

func main() {
	_, _ = omniq.NewClient(nil, omniq.QueueLimit("mail", 1))
}
