import Primitives
import Testing

@testable import Identity

@Suite struct ScryptHashTests {
    private let hasher = ScryptHasher(cost: .trivial)
    private let random = seededBytes(5)

    /// RFC 7914 section 12, the second and the third vector, written as stored hashes.
    @Test(arguments: [
        (
            "password", "NaCl", "ln=10,r=8,p=16",
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8"
                + "360cbdfa2cc0640"
        ),
        (
            "pleaseletmein", "SodiumChloride", "ln=14,r=8,p=1",
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40d"
                + "fcf017b45575887"
        ),
    ])
    func `has the vectors of RFC 7914`(password: String, salt: String, cost: String, digest: String) throws {
        let bytes = try #require(Hex.decode(digest))
        let stored = "$scrypt$\(cost)$\(Base64.standard.encode(salt.utf8))$\(Base64.standard.encode(bytes))"
        #expect(try hasher.verify(password, stored))
        #expect(try !hasher.verify(password + "x", stored))
    }

    /// Written by Keystone 30.0.0's own hasher.
    @Test(arguments: [
        ("correct horse", "$scrypt$ln=4,r=8,p=1$oAKJrAVU5QaspgIo71zV/g$73FXco1/xecj6UrtnuMCxA/utw3LtNRFAY5KfniTYDA"),
        ("pässwörd-密", "$scrypt$ln=10,r=4,p=2$24c6qb7fC6SXhLFZXUxTQQ$+v2jvHIuEC/h1omqPQC3FxgecS6YCgOXTmLwY9hpRAg"),
        ("pässwörd-密", "$scrypt$ln=10,r=4,p=2$24c6qb7fC6SXhLFZXUxTQQ$.v2jvHIuEC/h1omqPQC3FxgecS6YCgOXTmLwY9hpRAg"),
        ("", "$scrypt$ln=4,r=8,p=1$r8h7gq6aUbrxhs/v+XMDrw$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g"),
    ])
    func `takes hashes of Keystone`(password: String, stored: String) throws {
        #expect(try hasher.verify(password, stored))
        #expect(try !hasher.verify(password + " ", stored))
    }

    @Test func `a hash is of its password only and has its own salt`() throws {
        let (one, two) = (try hasher.hash("sesame", random: random), try hasher.hash("sesame", random: random))
        #expect(one != two && one.hasPrefix("$scrypt$ln=4,r=1,p=1$"))
        #expect(try hasher.verify("sesame", one) && hasher.verify("sesame", two))
        #expect(try !hasher.verify("Sesame", one))
        #expect(try ScryptHasher(cost: .standard).verify("sesame", one))
    }

    @Test func `passwords are bytes and not normalised`() throws {
        let composed = "caf\u{E9}"
        let decomposed = "cafe\u{301}"
        #expect(composed == decomposed)
        let stored = try hasher.hash(composed, random: random)
        #expect(try hasher.verify(composed, stored) && !hasher.verify(decomposed, stored))
        let strange = "\u{0}a\u{0}\u{1F98A}"
        #expect(try hasher.verify(strange, hasher.hash(strange, random: random)))
        for other in ["a\u{0}\u{1F98A}", "\u{0}a", "\u{0}a\u{1F98A}"] {
            #expect(try !hasher.verify(other, hasher.hash(strange, random: random)))
        }
    }

    @Test func `passwords are as long as Keystone's`() throws {
        let longest = String(repeating: "x", count: 4096)
        let stored = try hasher.hash(longest, random: random)
        #expect(try hasher.verify(longest, stored) && !hasher.verify(String(longest.dropLast()), stored))
        #expect(throws: PasswordHashError.passwordTooLong) { try hasher.hash(longest + "x", random: random) }
        #expect(try !hasher.verify(longest + "x", stored))
    }

    @Test(arguments: [
        "", "x", "$", "$scrypt$", "$scrypt$ln=4,r=8,p=1$c2FsdA", "$2b$12$abcdefghijklmnopqrstuv",
        "$scrypt$ln=4,r=8$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g",
        "$scrypt$ln=4,r=8,p=1,q=1$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g",
        "$scrypt$ln=4,r=8,r=8$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g",
        "$scrypt$ln=-4,r=8,p=1$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g",
        "$scrypt$ln=4,r=8,p=99999999999999999999$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g",
        "$scrypt$ln=4,r=8,p=1$$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g",
        "$scrypt$ln=4,r=8,p=1$c2FsdA$", "$scrypt$ln=4,r=8,p=1$c2FsdA$AAAA",
        "$scrypt$ln=4,r=8,p=1$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g$",
        "$scrypt$ln=4,r=8,p=1$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g=",
    ])
    func `what is no hash is refused`(stored: String) {
        #expect(throws: PasswordHashError.notAHash) { try hasher.verify("x", stored) }
        #expect(throws: PasswordHashError.notAHash) {
            try hasher.verify("x", stored + String(repeating: "A", count: 600))
        }
    }

    @Test(arguments: [
        "ln=0,r=8,p=1", "ln=19,r=8,p=1", "ln=24,r=8,p=1", "ln=999999999,r=8,p=1", "ln=14,r=0,p=1", "ln=14,r=8,p=0",
        "ln=14,r=999999999,p=1", "ln=14,r=8,p=999999999", "ln=17,r=8,p=32", "ln=16,r=1,p=1", "ln=10,r=32,p=1",
    ])
    func `a hash that would take the machine down is refused`(cost: String) {
        let stored = "$scrypt$\(cost)$c2FsdA$WbkVu86PAbZCwht0CUANP+AnMmcAHzgfB1mz7Cyys7g"
        #expect(throws: PasswordHashError.costTooHigh) { try hasher.verify("x", stored) }
    }

    @Test func `the usual cost keeps its limits`() {
        #expect(ScryptCost.standard.memory <= .mebibytes(64) && ScryptCost.standard.isBounded)
        #expect(ScryptCost(logN: 18, blockSize: 8, parallelism: 1).isBounded)
    }
}

@Suite struct PasswordDeskTests {
    @Test func `hashes and checks`() async throws {
        let desk = PasswordDesk(hasher: ScryptHasher(cost: .trivial), random: seededBytes(1))
        let stored = try await desk.hash("sesame")
        #expect(try await desk.verify("sesame", stored))
        #expect(try await !desk.verify("Sesame", stored))
        #expect(try await !desk.verify("sesame", nil))
        await #expect(throws: PasswordDeskError.hash(.notAHash)) { try await desk.verify("sesame", "x") }
        await #expect(throws: PasswordDeskError.hash(.passwordTooLong)) {
            try await desk.hash(String(repeating: "x", count: 5000))
        }
    }

    @Test func `an unknown user costs what a known one does`() async throws {
        let cost = ScryptCost(logN: 12, blockSize: 8, parallelism: 1)
        let desk = PasswordDesk(hasher: ScryptHasher(cost: cost), width: 1)
        let stored = try await desk.hash("sesame")
        for known in [stored, nil] {
            let before = desk.computationCount
            let isRight = try await desk.verify("wrong", known)
            #expect(!isRight)
            #expect(desk.computationCount == before + 1)
        }
    }

    @Test func `refuses what its queue does not hold, and takes more later`() async throws {
        let desk = PasswordDesk(
            hasher: ScryptHasher(cost: ScryptCost(logN: 13, blockSize: 8, parallelism: 1)), width: 1, waitingMax: 2)
        let outcomes = await withTaskGroup(of: String.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    do throws(PasswordDeskError) {
                        return try await desk.verify("x", nil) ? "yes" : "no"
                    } catch {
                        guard case .busy(let time) = error else { return "\(error)" }
                        return time >= .seconds(1) ? "busy" : "busy for no time"
                    }
                }
            }
            return await group.reduce(into: [:]) { counts, outcome in counts[outcome, default: 0] += 1 }
        }
        #expect(Set(outcomes.keys) == ["no", "busy"], "\(outcomes)")
        #expect(outcomes["no", default: 0] >= 3)
        #expect(try await !desk.verify("x", nil))
    }

    @Test func `somebody who has gone costs no hash`() async throws {
        let desk = PasswordDesk(hasher: ScryptHasher(cost: .trivial), width: 1)
        let task = Task { () -> PasswordDeskError? in
            while !Task.isCancelled { await Task.yield() }
            do throws(PasswordDeskError) { _ = try await desk.hash("x") } catch { return error }
            return nil
        }
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(try await desk.verify("x", desk.hash("x")))
    }
}
