// Package lint holds the rules of the house as tests: who may import what, which way the arrows
// between packages point, and what every file owes its reader. It has no code beside them. To
// change a rule, change its table and say why there.
package lint
