package commands

import (
	"fmt"
	"slices"

	"kiroku/domain/agency"
	"kiroku/domain/event"
)

// Roles in which commands are given (評価書 III). Who signs in under which role is for the interfaces to establish;
// what a role may do is decided here.
const (
	RoleGateway    = "gateway"           // インターフェイスシステム of an agency, in that agency's name only
	RoleJukiNet    = "juki-net"          // 住民基本台帳ネットワークシステム: reports changes of resident codes
	RoleDisclosure = "disclosure-system" // 情報提供等記録開示システム: asks for a person or a representative
	RoleCommission = "commission"        // 個人情報保護委員会 (Act 35(1), 19(13)), through the disclosure system
	RoleOperator   = "operator"          // keeps the registry
	RoleBackup     = "backup"            // makes backups; nobody else does (評価書 III)
	roleSystem     = "system"            // the core itself
)

// DisclosureClass is the class of the one kind of agency through which records are disclosed. It is given at
// registration; no scope rule names it.
const DisclosureClass = "情報提供等記録開示システム"

// mustBe refuses an actor in another role.
func mustBe(a event.Actor, roles ...string) error {
	if slices.Contains(roles, a.Role) {
		return nil
	}
	return fmt.Errorf("role %q, where one of %q is needed: %w", a.Role, roles, ErrNotAllowed)
}

// mustActFor refuses an actor that is not the gateway of the agency.
func mustActFor(a event.Actor, code agency.Code) error {
	if err := mustBe(a, RoleGateway); err != nil {
		return err
	}
	if a.Agency != code.String() {
		return fmt.Errorf("a gateway can only act in its own agency's name: %w", ErrNotAllowed)
	}
	return nil
}
