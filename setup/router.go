package setup

import "fmt"

// routerSource asks the router, where there is one that answers.
func (d *draft) routerSource() {
	if d.Router.IsValid() {
		fmt.Fprintf(d, "\n# The router, %s when this was written, says at once when it has another address: then\n"+
			"# the servers are asked. As long as it says the same as they, they are asked more rarely.\n[source.router]\n",
			d.Router)
	}
}
