import APISupport
import HTTPTypes
import Primitives
import TestSupport
import Testing

@Suite struct CallRatesTests {
    private let clock = ManualWallClock()

    /// How many of `count` calls of a caller are taken.
    private func taken(_ count: Int, by caller: String, _ rates: CallRates) -> Int {
        (0..<count).count { _ in (try? rates.admit(caller)) != nil }
    }

    @Test func `a caller has a burst, then the rate, and never more than a burst after a pause`() throws {
        let rates = CallRates(perSecond: 10, clock: clock)
        let burst = 10 * CallRates.burstSeconds
        #expect(taken(1000, by: "ann", rates) == burst)
        #expect(taken(1000, by: "bob", rates) == burst)
        clock.advance(by: .milliseconds(99))
        #expect(taken(5, by: "ann", rates) == 0)
        clock.advance(by: .milliseconds(1))
        #expect(taken(5, by: "ann", rates) == 1)
        clock.advance(by: .seconds(1))
        #expect(taken(1000, by: "ann", rates) == 10)
        clock.advance(by: .seconds(86_400))
        #expect(taken(1000, by: "ann", rates) == burst)
    }

    @Test func `who is refused is told when to come again`() {
        let rates = CallRates(perSecond: 1, clock: clock)
        _ = taken(100, by: "ann", rates)
        let error = #expect(throws: APIError.self) { try rates.admit("ann") }
        #expect(error?.status == .tooManyRequests)
        #expect(error?.headers[.retryAfter] == "1")
    }

    @Test func `a clock that is set back brings nothing and stops nobody for long`() {
        let rates = CallRates(perSecond: 10, clock: clock)
        _ = taken(1000, by: "ann", rates)
        clock.advance(by: .seconds(-3600))
        #expect(taken(5, by: "ann", rates) == 0)
        clock.advance(by: .seconds(1))
        #expect(taken(100, by: "ann", rates) == 10)
    }

    @Test func `of any number of callers few are remembered, and those that are at it first`() {
        let rates = CallRates(perSecond: 10, callerCountMax: 100, clock: clock)
        for number in 0..<99 { _ = taken(1, by: "once \(number)", rates) }
        clock.advance(by: .seconds(1))
        _ = taken(1000, by: "ann", rates)
        #expect(rates.callerCount == 100)
        #expect(taken(1, by: "new", rates) == 1)
        #expect(rates.callerCount == 2, "those whose bucket is full again are forgotten")
        #expect(taken(1, by: "ann", rates) == 0, "who has used up hers is not")
        for number in 0..<10_000 { _ = taken(1, by: "stranger \(number)", rates) }
        #expect(rates.callerCount <= 100)
    }

    @Test func `an IPv6 address is taken for its network, an IPv4 address for itself`() {
        for (address, place) in [
            ("192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8:0:0"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2"),
            ("::1", "0:0:0:0"), ("2001:db8:1:2::", "2001:db8:1:2"), ("fe80::1:2:3:4", "fe80:0:0:0"),
            ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ] {
            #expect(RemotePlace.of(address) == place)
        }
        #expect(RemotePlace.of(nil) == "-")
    }

    @Test func `one refusal a minute of each sort may be recorded`() {
        let limiter = RefusalLimiter<String>()
        #expect(limiter.mayRecord("a", at: clock.now))
        #expect(!limiter.mayRecord("a", at: clock.now))
        #expect(limiter.mayRecord("b", at: clock.now))
        clock.advance(by: .seconds(59))
        #expect(!limiter.mayRecord("a", at: clock.now))
        clock.advance(by: .seconds(1))
        #expect(limiter.mayRecord("a", at: clock.now))
    }
}
