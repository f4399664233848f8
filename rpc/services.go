package rpc

import (
	"fmt"
	"strings"
	"time"

	"github.com/shiplap-ipc/shiplap"
)

// Service is a service that somebody serves.
type Service struct {
	Name    string    `json:"name"`
	Pid     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// String is one line for people.
func (s Service) String() string { return fmt.Sprintf("service %q of pid %d", s.Name, s.Pid) }

// Services lists the services of a domain, by name. Their methods are listed by Client.Methods.
func Services(d *shiplap.Domain) ([]Service, error) {
	objects, err := d.List()
	if err != nil {
		return nil, err
	}
	list := []Service{}
	for _, o := range objects {
		name, ok := strings.CutPrefix(o.Name, prefix)
		if !ok || o.Kind != "listener" {
			continue
		}
		locks, err := d.Locks(o.Name)
		if err != nil {
			continue // gone meanwhile
		}
		for _, l := range locks {
			if l.Lock == "listen" && l.Holder != nil && l.Holder.Alive {
				list = append(list, Service{Name: name, Pid: l.Holder.Pid, Command: l.Holder.Command, Since: l.Since})
			}
		}
	}
	return list, nil
}
