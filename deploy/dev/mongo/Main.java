import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import java.util.List;

/** The MongoDB-wire server of the development stack: arguments are the port and the H2 file that keeps the data. */
public final class Main {
    /** Current drivers refuse wire versions below 9; the library's own newest claim is older than that. */
    private static final MongoVersion MONGO_5 = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    };

    private Main() {
    }

    public static void main(String[] args) {
        Views backend = new Views(args[1]);
        backend.version(MONGO_5);
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(args[0]));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        System.out.println("listening on " + server.getLocalAddress());
    }
}
