package systemd

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/godbus/dbus/v5"

	"netwatch"
	"netwatch/access"
)

// Shown is what polkit would show for a verb that systemd asks by for several methods,
// where it asks for the ordinary job (measured with 252, 257 and 262). The other verbs
// have one meaning.
var Shown = map[string]string{
	"start": "Authentication is required to start '$(unit)'.",
	"stop":  "Authentication is required to stop '$(unit)'.",
	Kill:    "Authentication is required to send a UNIX signal to the processes of '$(unit)'.",
}

// A subject is whom polkit is asked about, and of what kind that is.
type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

// Permitted asks polkit whether a user may have systemd do to a unit what polkit calls
// verb. It does nothing; the error says why not, with the remedy. Only root may ask
// (polkit's CheckAuthorization, with details).
func Permitted(ctx context.Context, uid int, unit, verb string) error {
	u, err := Open(ctx, unit, netwatch.Job{})
	if err != nil {
		return err
	}
	defer u.Close()
	if _, err := u.state(ctx); err != nil { // Finds the name that polkit goes by
		return err
	}
	him, err := connectAs(ctx, uid)
	if err != nil {
		return fmt.Errorf("connecting to the system bus as user %d: %w", uid, orCause(ctx, err))
	}
	defer him.Close()
	var answer struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	who := subject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(him.Names()[0])}}
	details := map[string]string{"unit": cmp.Or(u.id, unit), "verb": verb, "polkit.message": Shown[verb]}
	u.waitsFor(thePolkit)
	authority := u.conn.Object(polkit, "/org/freedesktop/PolicyKit1/Authority")
	method := polkit + ".Authority.CheckAuthorization"
	err = authority.CallWithContext(ctx, method, 0, who, polkitAction, details, uint32(0), "").Store(&answer)
	switch {
	case err != nil:
		return fmt.Errorf("asking polkit: %w", u.explain(ctx, verb, orCause(ctx, err)))
	case !answer.Authorized:
		err := fmt.Errorf("polkit does not let user %d %s %s", uid, verb, unit)
		return netwatch.WithHint(err, "run netwatch grant, as root")
	}
	return nil
}

// connectAs makes a connection of a user's, by whose name polkit knows him: of a
// process it knows nothing where /proc is mounted with hidepid=2 (measured).
func connectAs(ctx context.Context, uid int) (conn *dbus.Conn, err error) {
	auth := dbus.WithAuth(dbus.AuthExternal(strconv.Itoa(uid)))
	err = access.User{UID: uid}.Connect(func() (err error) {
		conn, err = dbus.ConnectSystemBus(dbus.WithContext(ctx), auth)
		return err
	})
	return conn, err
}

// grant is the hint by which somebody gets the permission for verb.
func (u *Unit) grant(verb string) string {
	return fmt.Sprintf("user %s needs a polkit rule for action %s with unit %s and verb %s; "+
		"run as root, netwatch grant writes those of the user netwatch",
		access.NameOf(os.Geteuid()), polkitAction, cmp.Or(u.id, u.name), verb)
}

// polkitUnit is the unit that runs polkit, and polkitMasked the remedy where that is
// masked.
const (
	polkitUnit   = "polkit.service"
	polkitMasked = "polkit is masked and cannot permit it: systemctl unmask " + polkitUnit
)

// denied is the hint where systemd says no more than that: there is nobody to permit it,
// or nobody does. dbus-daemon would tell a polkit that is masked; dbus-broker does not.
func (u *Unit) denied(ctx context.Context, verb string) string {
	if !u.hasPolkit(ctx) {
		return "polkit is not there to permit it: install polkitd"
	}
	asked := &Unit{name: polkitUnit, conn: u.conn}
	if u.call(ctx, "LoadUnit", polkitUnit).Store(&asked.path) == nil {
		if st, err := asked.state(ctx); err == nil && st.Load == "masked" {
			return polkitMasked
		}
	}
	return u.grant(verb)
}

// hasPolkit says whether polkit runs or can be started by the bus.
func (u *Unit) hasPolkit(ctx context.Context) bool {
	var names []string
	err := u.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&names)
	return err == nil && slices.Contains(names, polkit)
}
