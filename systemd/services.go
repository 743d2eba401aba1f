package systemd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"netwatch"
)

// A Service is a service as systemd has it in force, which is not only what its file
// says: drop-ins, generators and programs have their say in it, and percent signs and
// quotes are gone.
type Service struct {
	// Name is its own, where it has aliases too.
	Name string
	// Commands are those that start it.
	Commands []Command
	// Environment has its variables, as NAME=value, the manager's first; those of
	// Files come after them, and Unset are taken out again.
	Environment, Unset []string
	Files              []EnvironmentFile
	// Root is the directory that is / for it; empty is the machine's.
	Root string
	// Enabled says that it starts at boot, and Running that it runs or is being
	// started.
	Enabled, Running bool
	// Passing says that it will not be there after the next boot.
	Passing bool
	// Source is the file that its unit was made of, as by a generator.
	Source string
	// MainPID is the main process, 0 if there is none.
	MainPID uint32
}

// A Command is one ExecStart=.
type Command struct {
	// Words are the program and its arguments.
	Words []string
	// Literal says that variables in it stay as they are.
	Literal bool
}

// An EnvironmentFile is a file with variables, or a pattern for such files.
type EnvironmentFile struct {
	Path string
	// Optional says that the service starts without it.
	Optional bool
}

// Boots says whether this machine was started by systemd, so that it can be asked
// (sd_booted(3)).
func Boots() bool {
	info, err := os.Stat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Services are all services that systemd has loaded, and those that are installed
// beside them, by name. It needs no privilege. A template is none, its instances are.
func Services(ctx context.Context) (all []Service, err error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return nil, netwatch.WithHint(fmt.Errorf("connecting to the system bus: %w", orCause(ctx, err)), silent[theBus].hint)
	}
	defer func() { _ = conn.Close() }()
	c := census{ctx, conn}
	names, err := c.names()
	if err != nil {
		return nil, fmt.Errorf("asking systemd which services there are: %w", orCause(ctx, err))
	}
	env, err := c.get(managerPath, manager, "Environment")
	if err != nil {
		return nil, fmt.Errorf("asking systemd for its environment: %w", orCause(ctx, err))
	}
	manages, _ := env.Value().([]string)
	for _, name := range names {
		s, err := c.service(name)
		if err != nil {
			return nil, fmt.Errorf("asking systemd about %s: %w", name, orCause(ctx, err))
		}
		twin := func(o Service) bool { return o.Name == s.Name }
		if len(s.Commands) > 0 && !slices.ContainsFunc(all, twin) {
			s.Environment = slices.Concat(manages, s.Environment)
			all = append(all, s)
		}
	}
	return all, nil
}

// A census asks systemd about all units, over one connection.
type census struct {
	ctx  context.Context //nolint:containedctx // It lives as long as one call of Services.
	conn *dbus.Conn
}

// names are those of all services, loaded or installed, sorted.
func (c census) names() (all []string, err error) {
	var files []struct{ Path, State string }
	if err := c.call("ListUnitFiles").Store(&files); err != nil {
		return nil, err
	}
	for _, f := range files {
		all = append(all, f.Path[strings.LastIndexByte(f.Path, '/')+1:])
	}
	var units [][]any
	if err := c.call("ListUnits").Store(&units); err != nil {
		return nil, err
	}
	for _, u := range units {
		if name, ok := u[0].(string); ok {
			all = append(all, name)
		}
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		return !strings.HasSuffix(name, ".service") || strings.HasSuffix(name, "@.service")
	})
	slices.Sort(all)
	return slices.Compact(all), nil
}

// service reads one. What is masked, or cannot be loaded, has no commands.
func (c census) service(name string) (s Service, err error) {
	var path dbus.ObjectPath
	if err := c.call("LoadUnit", name).Store(&path); err != nil {
		return s, err
	}
	unit, err := c.all(path, systemd+".Unit")
	if err != nil {
		return s, err
	}
	if value[string](unit, "LoadState") != "loaded" {
		return s, nil
	}
	service, err := c.all(path, systemd+".Service")
	if err != nil {
		return s, err
	}
	return serviceOf(unit, service), nil
}

// serviceOf is a service by its properties.
func serviceOf(unit, service map[string]dbus.Variant) Service {
	active, file := value[string](unit, "ActiveState"), value[string](unit, "FragmentPath")
	s := Service{
		Name:        value[string](unit, "Id"),
		Environment: value[[]string](service, "Environment"), Unset: value[[]string](service, "UnsetEnvironment"),
		Root:    value[string](service, "RootDirectory") + value[string](service, "RootImage"),
		Enabled: slices.Contains([]string{"enabled", "enabled-runtime"}, value[string](unit, "UnitFileState")),
		Running: active != "inactive" && active != "failed",
		Passing: strings.HasPrefix(file, "/run/systemd/transient/") || strings.HasPrefix(file, "/run/systemd/system/"),
		MainPID: value[uint32](service, "MainPID"), Source: value[string](unit, "SourcePath"),
	}
	for _, f := range value[[][]any](service, "EnvironmentFiles") {
		path, _ := f[0].(string)
		optional, _ := f[1].(bool)
		s.Files = append(s.Files, EnvironmentFile{path, optional})
	}
	for _, e := range value[[][]any](service, "ExecStartEx") {
		words, _ := e[1].([]string)
		flags, _ := e[2].([]string)
		if len(words) > 0 {
			s.Commands = append(s.Commands, Command{words, slices.Contains(flags, "no-env-expand")})
		}
	}
	return s
}

// call calls a method of systemd's manager.
func (c census) call(method string, args ...any) *dbus.Call {
	return c.conn.Object(systemd, managerPath).CallWithContext(c.ctx, manager+"."+method, 0, args...)
}

// all are all properties of an object.
func (c census) all(path dbus.ObjectPath, of string) (all map[string]dbus.Variant, err error) {
	err = c.conn.Object(systemd, path).CallWithContext(c.ctx, properties+".GetAll", 0, of).Store(&all)
	return all, err
}

// get is one property of an object.
func (c census) get(path dbus.ObjectPath, of, name string) (v dbus.Variant, err error) {
	err = c.conn.Object(systemd, path).CallWithContext(c.ctx, properties+".Get", 0, of, name).Store(&v)
	return v, err
}
