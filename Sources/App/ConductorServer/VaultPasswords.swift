import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Identity
import Primitives
import ResourceModel

/// BMCs' passwords in the vault.
struct VaultPasswords: PasswordBook {
    let vault: SecretVault
    let store: any ResourceStore

    func password(_ slot: PasswordSlot, of bmc: String) async throws -> SecretText? {
        do { return try await vault.open(slot.secretName(of: bmc)) } catch {
            guard case .unknown = error else { throw error }
            return nil
        }
    }

    func writing(_ password: SecretText?, into slot: PasswordSlot, of bmc: String) async throws -> Transaction {
        let name = slot.secretName(of: bmc)
        let current = try await store.fetch(Secret.self, name)
        guard let password else {
            guard let current else { return Transaction() }
            return Transaction(conditions: [current.unchanged], operations: [.delete(current.value.key)])
        }
        let sealed = try vault.sealed(name, purpose: "password of the BMC \(bmc)", password, replacing: current)
        return Transaction(conditions: [sealed.unchanged], operations: [try sealed.put()])
    }
}

/// Opens BMCs in their turn, each call with the password that is good then.
struct BMCDoor: Sendable {
    let opener: @Sendable (BMC.Spec, SecretText) throws -> any BMCDriver
    let passwords: VaultPasswords
    let turns: BMCTurns

    /// A driver for everybody but the one who changes the password.
    func driver(of bmc: BMC) -> any BMCDriver {
        let name = bmc.metadata.name
        return TurnTakingDriver(name, turns: turns) {
            try opener(bmc.spec, try await passwordInUse(of: name))
        }
    }

    /// The password that the BMC takes; throws `BMCError.passwordPending` when a change of it was broken off and nobody
    /// knows yet. Ask in the BMC's turn.
    func passwordInUse(of name: String) async throws -> SecretText {
        if try await passwords.store.fetch(BMC.self, name)?.value.isPasswordPending == true {
            throw BMCError.passwordPending
        }
        return try await passwords.vault.open(PasswordSlot.current.secretName(of: name))
    }
}
