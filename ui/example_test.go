package ui_test

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/ui"
)

// The web interface below a path of a server, for those who have logged in: Ada may do everything, the others look.
func ExampleNew() {
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	rights := func(r *http.Request) ui.Rights {
		name, password, ok := r.BasicAuth() // or what your own login says
		switch {
		case !ok || subtle.ConstantTimeCompare([]byte(password), []byte("a long one")) != 1:
			return 0
		case name == "ada":
			return ui.Everything
		}
		return ui.View
	}
	handler, err := ui.New(client, rights, ui.Prefix("/omniq"), ui.Hosts("ops.example.com"))
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/omniq/", handler)

	for _, name := range []string{"ada", "bob", ""} {
		r := httptest.NewRequest(http.MethodGet, "https://ops.example.com/omniq/queues", nil)
		if name != "" {
			r.SetBasicAuth(name, "a long one")
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 200
	// 403
}
