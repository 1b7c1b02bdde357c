// Package scope holds the starting set of scope rules and the list of agency
// classes as the program ships them, for operators to copy and extend. It
// promises that both files are free of problems (domain/scope.ParseCSV and
// ParseClasses) and that each rule cites a row of the scope order's table which
// has the rule's inquirer and provider. The wording of affairs is ours; a rule
// set for production is made from the order itself.
package scope

import _ "embed"

// Rules is rules.csv.
//
//go:embed rules.csv
var Rules string

// Classes is classes.csv.
//
//go:embed classes.csv
var Classes string
