package systemd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

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
	// Root is the directory that is / for it; empty is the machine's. Directory is the
	// one in which it is started; empty is /.
	Root, Directory string
	// Enabled says that it starts at boot, and Running that it runs or is being
	// started.
	Enabled, Running bool
	// Passing says that it will not be there after the next boot.
	Passing bool
	// Source is the file that its unit was made of, as by a generator.
	Source string
	// Texts are the files that it is written in: its own and then its drop-ins, in the order
	// in which they count.
	Texts []string
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

// Services are those services that systemd has loaded, or that are installed beside
// them, of which wanted says so by their name and their commands, sorted by name. It
// needs no privilege. A template is none, its instances are.
func Services(ctx context.Context, wanted func(name string, commands []Command) bool) (all []Service, err error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return nil, netwatch.WithHint(fmt.Errorf("connecting to the system bus: %w", orCause(ctx, err)), silent[theBus].hint)
	}
	defer func() { _ = conn.Close() }()
	c := census{conn, wanted}
	names, err := c.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking systemd which services there are: %w", orCause(ctx, err))
	}
	var manages []string
	if err := c.get(ctx, managerPath, manager, "Environment", &manages); err != nil {
		return nil, fmt.Errorf("asking systemd for its environment: %w", orCause(ctx, err))
	}
	found, err := c.look(ctx, names)
	if err != nil {
		return nil, orCause(ctx, err)
	}
	for _, s := range found {
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
	conn   *dbus.Conn
	wanted func(name string, commands []Command) bool
}

// names are those of all services, loaded or installed, sorted.
func (c census) names(ctx context.Context) (all []string, err error) {
	var files []struct{ Path, State string }
	if err := c.call(ctx, "ListUnitFiles").Store(&files); err != nil {
		return nil, err
	}
	for _, f := range files {
		all = append(all, f.Path[strings.LastIndexByte(f.Path, '/')+1:])
	}
	var units [][]any
	if err := c.call(ctx, "ListUnits").Store(&units); err != nil {
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

// atOnce is how many questions are on their way at the same time: hundreds one after
// the other take seconds on a busy machine.
const atOnce = 16

// look reads all services, in their order.
func (c census) look(ctx context.Context, names []string) ([]Service, error) {
	all, errs := make([]Service, len(names)), make([]error, len(names))
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() { // Ends with the names
			for i := range next {
				if all[i], errs[i] = c.service(ctx, names[i]); errs[i] != nil {
					errs[i] = fmt.Errorf("asking systemd about %s: %w", names[i], errs[i])
				}
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	wg.Wait()
	failed := func(err error) bool { return err != nil }
	if i := slices.IndexFunc(errs, failed); i >= 0 {
		return nil, errs[i]
	}
	return all, nil
}

// service reads one. What is not wanted, or cannot be loaded, has no commands.
func (c census) service(ctx context.Context, name string) (s Service, err error) {
	var path dbus.ObjectPath
	if err := c.call(ctx, "LoadUnit", name).Store(&path); err != nil {
		return s, err
	}
	var started [][]any
	if err := c.get(ctx, path, systemd+".Service", "ExecStartEx", &started); err != nil {
		return s, err
	}
	commands := commandsOf(started)
	if len(commands) == 0 || !c.wanted(name, commands) {
		return s, nil
	}
	unit, err := c.all(ctx, path, systemd+".Unit")
	if err != nil || value[string](unit, "LoadState") != "loaded" {
		return s, err
	}
	service, err := c.all(ctx, path, systemd+".Service")
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
		Root:      value[string](service, "RootDirectory") + value[string](service, "RootImage"),
		Directory: strings.TrimPrefix(value[string](service, "WorkingDirectory"), "!"),
		Enabled:   slices.Contains([]string{"enabled", "enabled-runtime"}, value[string](unit, "UnitFileState")),
		Running:   active != "inactive" && active != "failed",
		Passing:   strings.HasPrefix(file, "/run/systemd/transient/") || strings.HasPrefix(file, "/run/systemd/system/"),
		MainPID:   value[uint32](service, "MainPID"), Source: value[string](unit, "SourcePath"),
	}
	if file != "" {
		s.Texts = append([]string{file}, value[[]string](unit, "DropInPaths")...)
	}
	for _, f := range value[[][]any](service, "EnvironmentFiles") {
		path, _ := f[0].(string)
		optional, _ := f[1].(bool)
		s.Files = append(s.Files, EnvironmentFile{path, optional})
	}
	s.Commands = commandsOf(value[[][]any](service, "ExecStartEx"))
	return s
}

// commandsOf are commands as D-Bus has them.
func commandsOf(started [][]any) (all []Command) {
	for _, e := range started {
		words, _ := e[1].([]string)
		flags, _ := e[2].([]string)
		if len(words) > 0 {
			all = append(all, Command{words, slices.Contains(flags, "no-env-expand")})
		}
	}
	return all
}

// call calls a method of systemd's manager.
func (c census) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return c.conn.Object(systemd, managerPath).CallWithContext(ctx, manager+"."+method, 0, args...)
}

// all are all properties of an object.
func (c census) all(ctx context.Context, path dbus.ObjectPath, of string) (all map[string]dbus.Variant, err error) {
	err = c.conn.Object(systemd, path).CallWithContext(ctx, properties+".GetAll", 0, of).Store(&all)
	return all, err
}

// get reads one property of an object.
func (c census) get(ctx context.Context, path dbus.ObjectPath, of, name string, to any) error {
	var v dbus.Variant
	err := c.conn.Object(systemd, path).CallWithContext(ctx, properties+".Get", 0, of, name).Store(&v)
	if err != nil {
		return err
	}
	return v.Store(to)
}
