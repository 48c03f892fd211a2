import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import io.netty.channel.Channel;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.UUID;

/**
 * Views and time series as MongoDB 5.0 to 8.2 shows them to a tool that saves and restores. Neither can be renamed. A view is a
 * name of type "view" with a pipeline; a time series one of type "timeseries" over the collection "system.buckets.NAME", whose
 * buckets are read and written there under a validator that nobody may bypass. An imitation, from the documentation:
 * measurements are neither packed into buckets nor unpacked.
 */
final class Views extends H2Backend {
    private static final String BUCKETS = "system.buckets.";
    /** Names under which they are really kept, as this server writes to nothing that begins with "system.". No list has them. */
    private static final String KEPT = "imitated.buckets.";
    private static final String DEFINITIONS = "imitated.views";
    private static final int NAMESPACE_EXISTS = 48;
    private static final int NOT_ON_VIEW = 166;
    private static final int INVALID_OPTIONS = 72;
    private static final int MIXED_SCHEMA = 408;

    Views(String file) {
        super(file);
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
        switch (command) {
            case "create":
                if (query.get("timeseries") != null || query.get("viewOn") != null) {
                    return create(channel, database, query);
                }
                String made = name(command, query);
                if (definition(database, made) != null) {
                    throw exists(database, made);
                }
                break;
            case "listDatabases":
                return databases();
            case "listCollections":
                return listed(database, super.handleCommand(channel, database, command, query));
            case "renameCollection":
                for (String key : new String[] {"renameCollection", "to"}) {
                    String[] place = String.valueOf(query.get(key)).split("\\.", 2);
                    if (definition(place[0], place[1]) != null) {
                        throw new MongoServerError(NOT_ON_VIEW, "CommandNotSupportedOnView",
                            "cannot rename: " + query.get(key) + " is a view or a time-series collection");
                    }
                }
                break;
            case "drop":
            case "insert":
            case "update":
            case "delete":
            case "listIndexes":
            case "createIndexes":
            case "collMod":
            case "collStats":
            case "count":
            case "find":
                Document definition = definition(database, name(command, query));
                if (definition != null && isView(definition)) {
                    return ofView(channel, database, command, query, definition);
                }
                if (definition != null) {
                    return ofSeries(channel, database, command, query, definition);
                }
                break;
            default:
                break;
        }
        if (!name(command, query).startsWith(BUCKETS)) {
            return super.handleCommand(channel, database, command, query);
        }
        Document kept = query.clone();
        kept.put(command, KEPT + name(command, query).substring(BUCKETS.length()));
        return command.equals("insert") ? insert(channel, database, kept) : super.handleCommand(channel, database, command, kept);
    }

    /**
     * The library's own answer opens every database anew to look into it, and so makes collections again that somebody is
     * dropping at that moment.
     */
    private Document databases() {
        List<Document> databases = new ArrayList<>();
        for (String name : new TreeSet<>(listDatabaseNames())) {
            databases.add(new Document("name", name).append("empty", false));
        }
        return new Document("databases", databases).append("ok", 1.0);
    }

    private synchronized Document create(Channel channel, String database, Document query) {
        String name = name("create", query);
        boolean taken = resolveDatabase(database).resolveCollection(name, false) != null;
        if (taken || definition(database, name) != null) {
            throw exists(database, name);
        }
        Document options = new Document();
        for (String key : List.of("viewOn", "pipeline", "timeseries", "expireAfterSeconds", "collation")) {
            options.putIfNotNull(key, query.get(key));
        }
        if (options.get("viewOn") != null) {
            store(channel, database, new Document("_id", name).append("options", options));
            return new Document("ok", 1.0);
        }
        super.handleCommand(channel, database, "create", new Document("create", KEPT + name));
        store(channel, database, new Document("_id", name).append("options", options)
            .append("uuid", UUID.randomUUID().toString()).append("indexes", new ArrayList<>()).append("mixed", false));
        return new Document("ok", 1.0);
    }

    private static boolean isView(Document definition) {
        return ((Document) definition.get("options")).containsKey("viewOn");
    }

    @SuppressWarnings("unchecked")
    private Document ofView(Channel channel, String database, String command, Document query, Document definition) {
        if (command.equals("drop")) {
            definitions(database).removeDocument(definition);
            return new Document("ns", database + "." + definition.get("_id")).append("ok", 1.0);
        }
        if (!command.equals("find")) {
            throw new MongoServerError(NOT_ON_VIEW, "CommandNotSupportedOnView",
                database + "." + definition.get("_id") + " is a view, not a collection");
        }
        Document options = (Document) definition.get("options");
        List<Object> pipeline = new ArrayList<>((List<Object>) options.get("pipeline"));
        if (query.get("filter") != null) {
            pipeline.add(new Document("$match", query.get("filter")));
        }
        return super.handleCommand(channel, database, "aggregate", new Document("aggregate", options.get("viewOn"))
            .append("pipeline", pipeline).append("cursor", new Document()));
    }

    private Document ofSeries(Channel channel, String database, String command, Document query, Document definition) {
        String name = (String) definition.get("_id");
        switch (command) {
            case "drop":
                super.handleCommand(channel, database, "drop", new Document("drop", KEPT + name));
                definitions(database).removeDocument(definition);
                return new Document("nIndexesWas", 1).append("ns", database + "." + name).append("ok", 1.0);
            case "listIndexes":
                return cursor(database + "." + name, (List<?>) definition.get("indexes"));
            case "createIndexes":
                List<Object> indexes = new ArrayList<>((List<?>) definition.get("indexes"));
                indexes.addAll((List<?>) query.get("indexes"));
                store(channel, database, definition.cloneDeeply().append("indexes", indexes));
                return new Document("ok", 1.0);
            case "collMod":
                Document changed = definition.cloneDeeply();
                if (query.containsKey("expireAfterSeconds")) {
                    ((Document) changed.get("options")).put("expireAfterSeconds", query.get("expireAfterSeconds"));
                }
                if (Boolean.TRUE.equals(query.get("timeseriesBucketsMayHaveMixedSchemaData"))) {
                    changed.put("mixed", true);
                }
                store(channel, database, changed);
                return new Document("ok", 1.0);
            case "insert":
            case "update":
            case "delete":
                throw new MongoServerError(INVALID_OPTIONS, "InvalidOptions", "measurements are not imitated: write buckets");
            default:
                Document ofBuckets = query.clone();
                ofBuckets.put(command, KEPT + name);
                return super.handleCommand(channel, database, command, ofBuckets);
        }
    }

    /** The validator of buckets: a field of which values of several types are in one bucket must have been allowed. */
    private Document insert(Channel channel, String database, Document query) {
        if (Boolean.TRUE.equals(query.get("bypassDocumentValidation"))) {
            throw new MongoServerError(INVALID_OPTIONS, "InvalidOptions",
                "cannot bypass the validation of a time-series bucket");
        }
        Document definition = definition(database, name("insert", query).substring(KEPT.length()));
        boolean mayBeMixed = definition == null || Boolean.TRUE.equals(definition.get("mixed"));
        List<Object> taken = new ArrayList<>();
        List<Integer> places = new ArrayList<>();
        List<Object> refused = new ArrayList<>();
        List<?> documents = (List<?>) query.get("documents");
        for (int at = 0; at < documents.size(); at++) {
            if (mayBeMixed || !isMixed((Document) documents.get(at))) {
                taken.add(documents.get(at));
                places.add(at);
            } else {
                refused.add(new Document("index", at).append("code", MIXED_SCHEMA)
                    .append("errmsg", "cannot insert a bucket with mixed-schema data"));
            }
        }
        if (refused.isEmpty()) {
            return super.handleCommand(channel, database, "insert", query);
        }
        Document answer = new Document("n", 0).append("ok", 1.0);
        if (!taken.isEmpty()) {
            Document rest = query.clone();
            rest.put("documents", taken);
            answer = super.handleCommand(channel, database, "insert", rest);
            if (answer.get("writeErrors") != null) {
                for (Object error : (List<?>) answer.get("writeErrors")) {
                    Document moved = ((Document) error).clone();
                    moved.put("index", places.get(((Number) moved.get("index")).intValue()));
                    refused.add(moved);
                }
            }
        }
        answer.put("writeErrors", refused);
        return answer;
    }

    private static boolean isMixed(Document bucket) {
        if (!(bucket.get("control") instanceof Document)) {
            return false;
        }
        Document control = (Document) bucket.get("control");
        Document least = (Document) control.get("min");
        Document most = (Document) control.get("max");
        return least.entrySet().stream().anyMatch(one -> {
            Object other = most.get(one.getKey());
            return other != null && other.getClass() != one.getValue().getClass();
        });
    }

    @SuppressWarnings("unchecked")
    private Document listed(String database, Document answer) {
        MongoCollection<?> definitions = definitions(database);
        if (definitions == null) {
            return answer;
        }
        List<Document> all = (List<Document>) ((Document) answer.get("cursor")).get("firstBatch");
        List<Document> listed = new ArrayList<>(all);
        listed.removeIf(one -> one.get("name").equals(DEFINITIONS));
        for (Document definition : definitions.queryAll()) {
            String name = (String) definition.get("_id");
            listed.add(new Document("name", name).append("type", isView(definition) ? "view" : "timeseries")
                .append("options", definition.get("options")).append("info", new Document("readOnly", isView(definition))));
            for (Document one : listed) {
                if (one.get("name").equals(KEPT + name)) {
                    one.put("name", BUCKETS + name);
                    ((Document) one.get("info")).put("uuid", UUID.fromString((String) definition.get("uuid")));
                }
            }
        }
        return cursor(database + ".$cmd.listCollections", listed);
    }

    private static Document cursor(String namespace, List<?> batch) {
        return new Document("cursor",
            new Document("id", 0L).append("ns", namespace).append("firstBatch", batch)).append("ok", 1.0);
    }

    private static String name(String command, Document query) {
        return String.valueOf(query.get(command));
    }

    private static MongoServerError exists(String database, String name) {
        return new MongoServerError(NAMESPACE_EXISTS, "NamespaceExists",
            "a collection '" + database + "." + name + "' already exists");
    }

    private MongoCollection<?> definitions(String database) {
        return resolveDatabase(database).resolveCollection(DEFINITIONS, false);
    }

    private Document definition(String database, String name) {
        MongoCollection<?> definitions = definitions(database);
        if (definitions != null) {
            for (Document one : definitions.handleQuery(new Document("_id", name))) {
                return one;
            }
        }
        return null;
    }

    private void store(Channel channel, String database, Document definition) {
        Document update = new Document("q", new Document("_id", definition.get("_id"))).append("u", definition)
            .append("upsert", true);
        super.handleCommand(channel, database, "update", new Document("update", DEFINITIONS).append("updates", List.of(update)));
    }
}
