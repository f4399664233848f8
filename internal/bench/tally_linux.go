package bench

import "slices"

// tally collects figures by name, in the order in which they first came.
type tally struct {
	got   map[string][]float64
	order []string
	units map[string]string
}

func (t *tally) add(name, unit string, v float64) {
	if t.got == nil {
		t.got, t.units = map[string][]float64{}, map[string]string{}
	}
	if t.got[name] == nil {
		t.order = append(t.order, name)
		t.units[name] = unit
	}
	t.got[name] = append(t.got[name], v)
}

func (t *tally) results(section string) (results []Result) {
	for _, name := range t.order {
		v := t.got[name]
		slices.Sort(v)
		results = append(results, Result{Name: name, Section: section, Unit: t.units[name],
			All: Figures{Slices: len(v), Median: v[len(v)/2], Min: v[0], Max: v[len(v)-1], P99: v[len(v)*99/100]}})
	}
	return results
}
