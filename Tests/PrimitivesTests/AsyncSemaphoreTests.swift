import Primitives
import Testing

@Suite struct AsyncSemaphoreTests {
    private actor Seen {
        private var inside = 0
        private(set) var most = 0
        private(set) var done = 0

        func enter() {
            inside += 1
            most = max(most, inside)
        }

        func leave() {
            inside -= 1
            done += 1
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: [1, 3]) func `no more than the limit are in, and all get in`(limit: Int)
        async
    {
        let semaphore = AsyncSemaphore(limit: limit)
        let seen = Seen()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    await semaphore.enter()
                    await seen.enter()
                    await seen.leave()
                    semaphore.leave()
                }
            }
        }
        #expect(await seen.done == 200)
        #expect(await seen.most <= limit)
    }

    @Test(.timeLimit(.minutes(1))) func `a place that is given back is taken again`() async {
        let semaphore = AsyncSemaphore(limit: 0)
        for _ in 0..<3 {
            await semaphore.enter()
            semaphore.leave()
        }
    }
}
