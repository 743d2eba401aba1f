package machine

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// everywhere says whether a port is published at all addresses of this machine.
func everywhere(ip string) bool { return slices.Contains([]string{"", "0.0.0.0", "::"}, ip) }

// forwarded are the ports that Podman has this machine hand on to a container under their own
// numbers: what its netavark, from 1.10 on, keeps for each network of a container, so that a
// reload of the firewall loses nothing.
func (s *search) forwarded(id string) (all []string) {
	for _, file := range s.tree.Glob("/run/containers/networks/firewall/ports/*_" + id) {
		var kept struct {
			Ports []portMapping `json:"port_mappings"`
		}
		if text, err := s.tree.Read(file); err == nil && json.Unmarshal(text, &kept) == nil {
			for _, p := range kept.Ports {
				all = append(all, p.own()...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A portMapping is what netavark keeps about ports that follow each other.
type portMapping struct {
	Inside    uint16 `json:"container_port"`
	Outside   uint16 `json:"host_port"`
	IP        string `json:"host_ip"`
	Protocols string `json:"protocol"`
	Range     uint16 `json:"range"`
}

// own are those that have the same number on both sides.
func (p portMapping) own() (all []string) {
	if p.Inside != p.Outside || !everywhere(p.IP) {
		return nil
	}
	for protocol := range strings.SplitSeq(p.Protocols, ",") {
		for i := range max(1, p.Range) {
			all = append(all, strconv.Itoa(int(p.Inside)+int(i))+"/"+protocol)
		}
	}
	return all
}
